-- What follows is the same for every layout; PROFILE, above, is this one's.

local nmsp = Proto("nmsp", "NMSP")
local FIELDS = {}
for key, field in pairs(PROFILE.fields) do
  local make, abbreviation = ProtoField[field.kind], "nmsp." .. key
  if field.kind == "none" then
    FIELDS[key] = make(abbreviation, field.name)
  elseif field.kind == "absolute_time" then
    FIELDS[key] = make(abbreviation, field.name, base.UTC)
  elseif field.kind:find("int", 1, true) then
    FIELDS[key] = make(abbreviation, field.name, field.hex and base.HEX or base.DEC, field.strings)
  else
    FIELDS[key] = make(abbreviation, field.name)
  end
end
FIELDS["message"] = ProtoField.string("nmsp.message", "message")
FIELDS["body"] = ProtoField.bytes("nmsp.body", "body")
FIELDS["element"] = ProtoField.none("nmsp.element", "element")
FIELDS["element.type"] = ProtoField.uint32("nmsp.element.type", "type")
FIELDS["element.length"] = ProtoField.uint32("nmsp.element.length", "length")
FIELDS["element.value"] = ProtoField.bytes("nmsp.element.value", "value")
FIELDS["checksum.status"] =
  ProtoField.uint8("nmsp.checksum.status", "checksum status", base.DEC, { [0] = "bad", [1] = "good" })
FIELDS["checksum.expected"] = ProtoField.uint32("nmsp.checksum.expected", "checksum expected", base.HEX)
FIELDS["response_in"] = ProtoField.framenum("nmsp.response_in", "response in", base.NONE, frametype.RESPONSE)
FIELDS["response_to"] = ProtoField.framenum("nmsp.response_to", "response to", base.NONE, frametype.REQUEST)
nmsp.fields = FIELDS

local MALFORMED = ProtoExpert.new("nmsp.malformed", "malformed", expert.group.MALFORMED, expert.severity.ERROR)
local GARBAGE = ProtoExpert.new("nmsp.garbage", "a constant is another", expert.group.PROTOCOL, expert.severity.ERROR)
local CHECKSUM = ProtoExpert.new("nmsp.checksum.bad", "checksum is wrong", expert.group.CHECKSUM, expert.severity.ERROR)
local UNKNOWN = ProtoExpert.new("nmsp.unknown", "unknown message", expert.group.UNDECODED, expert.severity.NOTE)
nmsp.experts = { MALFORMED, GARBAGE, CHECKSUM, UNKNOWN }

local BIG = PROFILE.order == "big"
-- Of what is later than this, a date is not made.
local MOST_SECONDS = UInt64.new(0, 0x10000)

-- -- reading -----------------------------------------------------------------------------------------------------------

-- A fault of the peer's: what is told of it is caught in `dissect_frame`.
local function fault(text)
  error({ nmsp = text }, 0)
end

-- Whether a field, which may be in another byte order than the rest, is big-endian.
local function is_big(field)
  return BIG ~= (field ~= nil and field.turned == true)
end

-- An integer: a number, or of 8 bytes a UInt64 or an Int64. `field`: nil for one without an order of its own.
local function integer(range, signed, field)
  local big = is_big(field)
  if range:len() == 8 then
    if signed then
      return big and range:int64() or range:le_int64()
    end
    return big and range:uint64() or range:le_uint64()
  end
  if signed then
    return big and range:int() or range:le_int()
  end
  return big and range:uint() or range:le_uint()
end

-- One that is counted with; what is too large for that is too large for any frame.
local function count(range, signed, field)
  local value = integer(range, signed, field)
  if type(value) == "number" then
    return value
  end
  local text = tostring(value)
  return #text < 16 and tonumber(text) or (text:sub(1, 1) == "-" and -1 or 2 ^ 52)
end

local function up_to(size, align)
  return math.ceil(size / align) * align
end

-- Without the NULs at its end.
local function text_of(range)
  local raw, size = range:raw(), range:len()
  while size > 0 and raw:byte(size) == 0 do
    size = size - 1
  end
  return size == 0 and "" or range(0, size):string(ENC_UTF_8)
end

-- The seconds and nanoseconds of a time; nil where no date has so many seconds.
local function time_of(field, range)
  local seconds, rest
  if field.pair then
    seconds, rest = UInt64.new(integer(range(0, 4), false, field)), UInt64.new(integer(range(4, 4), false, field))
    if field.fraction then
      rest = (rest * UInt64.new(1000000000) + UInt64.new(0xFFFFFFFF)) / UInt64.new(0, 1)
    else
      rest = rest * UInt64.new(field.ns)
    end
    seconds, rest = seconds + rest / UInt64.new(1000000000), rest % UInt64.new(1000000000)
  else
    local value = integer(range, false, field)
    value = type(value) == "number" and UInt64.new(value) or value
    local per_second = UInt64.new(field.per_second)
    seconds, rest = value / per_second, value % per_second * UInt64.new(field.ns)
  end
  if seconds >= MOST_SECONDS then
    return nil
  end
  return NSTime.new(seconds:tonumber(), rest:tonumber())
end

-- -- showing -----------------------------------------------------------------------------------------------------------

-- Add a field; returns its item.
local function show(tree, field, range)
  local shown = FIELDS[field.key]
  if field.kind == "text" then
    return tree:add(shown, range, text_of(range))
  elseif field.kind == "time" then
    local time = time_of(field, range)
    if time == nil then
      local item = tree:add(shown, range, NSTime.new(0, 0))
      item:append_text(" (no date: " .. tostring(integer(range, false, field)) .. ")")
      return item
    end
    return tree:add(shown, range, time)
  elseif field.kind == "bytes" or field.kind == "mac" or is_big(field) then
    return tree:add(shown, range)
  end
  return tree:add_le(shown, range)
end

-- Show the fields of a record that begins at `start`; `constants`: of this message, beside those of all.
-- Returns the ranges of those that something is counted by.
local function show_fields(tree, fields, tvb, start, constants)
  local counts = {}
  for _, field in ipairs(fields) do
    local range = tvb(start + field.at, field.size)
    local item = show(tree, field, range)
    local expected = constants and constants[field.name] or field.value
    if expected and tostring(integer(range, field.signed, field)) ~= expected then
      item:add_proto_expert_info(GARBAGE, field.name .. " is not " .. expected)
    end
    if field.counts then
      counts[field.name] = count(range, field.signed, field)
    end
  end
  return counts
end

-- -- bodies ------------------------------------------------------------------------------------------------------------

local show_part

local function show_record(tree, part, tvb, start, stop, number)
  local item = tree:add(FIELDS[part.key], tvb(start, math.max(0, math.min(part.size, stop - start))))
  item:append_text(" " .. number)
  local reached = show_part(item, part, tvb, start, stop)
  item:set_len(reached - start)
  return reached
end

-- Records side by side. Returns where they end.
local function show_counted(tree, repeated, tvb, position, limit, number)
  local shown, stop = 0, limit
  if repeated.unit > 0 then
    stop = position + number * repeated.unit
    if number < 0 or stop > limit then
      fault(repeated.count .. " says " .. number * repeated.unit .. " bytes, there are " .. limit - position)
    end
  elseif number < 0 or number > repeated.max then
    fault(repeated.count .. " is " .. number .. ", at most " .. repeated.max)
  end
  while (repeated.unit > 0 and position < stop) or (repeated.unit == 0 and shown < number) do
    if shown == repeated.max then
      fault("more than " .. repeated.max .. " records")
    end
    shown = shown + 1
    position = show_record(tree, repeated.part, tvb, position, stop, shown)
  end
  return position
end

-- Records up to the end, or to what is too little for one. Returns where they end.
local function show_to_end(tree, part, tvb, position, limit)
  local shown = 0
  while limit - position >= part.slack do
    if shown == part.repeated.max then
      fault("more than " .. part.repeated.max .. " records")
    end
    shown = shown + 1
    position = show_record(tree, part.repeated.part, tvb, position, limit, shown)
  end
  return position
end

local function is_zeros(tvb, position, stop)
  return not tvb(position, stop - position):raw():find("[^%z]")
end

-- Elements, up to `stop`: known fields, records, and what nobody knows.
local function show_elements(tree, part, tvb, position, stop)
  local elements, repeated, records, seen = part.elements, part.repeated, 0, {}
  local begin, head = position, elements.type_size + elements.length_size
  while position < stop do
    if stop - position < part.slack and is_zeros(tvb, position, stop) then
      break
    end
    if stop - position < head then
      fault(stop - position .. " bytes are no element")
    end
    local type_range, length_range = tvb(position, elements.type_size), tvb(position + elements.type_size, elements.length_size)
    local id, size = integer(type_range), integer(length_range) * elements.unit - elements.length_added
    local value_at = position + head
    if size < 0 or size > stop - value_at then
      fault("an element of " .. size .. " bytes in " .. stop - value_at)
    end
    local item = tree:add(FIELDS["element"], tvb(position, head + size))
    local field = elements.fields[id]
    local add = BIG and item.add or item.add_le
    add(item, FIELDS["element.type"], type_range)
    add(item, FIELDS["element.length"], length_range)
    if repeated and repeated.id == id then
      records = records + 1
      if records > repeated.max then
        fault("more than " .. repeated.max .. " records")
      end
      item:append_text(" " .. id .. ", a record")
      local reached = show_record(item, repeated.part, tvb, value_at, value_at + size, records)
      if up_to(reached - value_at + elements.length_added, elements.unit) - elements.length_added ~= size then
        fault("a record of " .. reached - value_at .. " bytes in an element of " .. size)
      end
    elseif field then
      if seen[id] then
        fault("a second element " .. field.name)
      end
      seen[id] = true
      item:append_text(" " .. id .. ", " .. field.name)
      local wanted = field.varies and math.min(size, field.size) or field.size
      local most = up_to(field.size + elements.length_added, elements.unit) - elements.length_added
      if size > most or (not field.varies and size ~= most) then
        fault(size .. " bytes of " .. field.name)
      end
      if field.varies then
        wanted = size
      end
      if wanted > 0 then
        show(item, field, tvb(value_at, wanted))
      end
    else
      item:append_text(" " .. id .. ", unknown")
      if size > 0 then
        item:add(FIELDS["element.value"], tvb(value_at, size))
      end
    end
    position = math.min(begin + up_to(value_at + size - begin, elements.align), stop)
  end
  for id, name in pairs(elements.needed) do
    if not seen[id] then
      fault("no element " .. name)
    end
  end
end

-- A message's body or a record, from `start` to `stop` at the latest. Returns where it ends.
show_part = function(tree, part, tvb, start, stop, constants)
  local tail_size = part.tail and part.tail.size or 0
  if stop - start < part.size + tail_size then
    fault(part.name .. " of at least " .. part.size + tail_size .. " bytes, there are " .. stop - start)
  end
  local counts = show_fields(tree, part.fields, tvb, start, constants)
  local position = start + part.size
  if part.length then
    local size = counts[part.length] * part.length_unit
    if size < part.size + tail_size or size > stop - start then
      fault(part.length .. " says " .. size .. " bytes, there are " .. stop - start)
    end
    stop = start + size
  end
  if part.repeated and part.repeated.count then
    local number = counts[part.repeated.count]
    position = show_counted(tree, part.repeated, tvb, position, stop - tail_size, number)
  elseif part.repeated and part.repeated.to_end then
    position = show_to_end(tree, part, tvb, position, stop - tail_size)
  end
  if part.elements then
    show_elements(tree, part, tvb, position, stop - tail_size)
    position = stop - tail_size
  end
  if part.tail then
    if stop - position < tail_size then
      fault(part.name .. " ends before its tail")
    end
    show_fields(tree, part.tail.fields, tvb, position)
    position = position + tail_size
  end
  local padded = start + up_to(position - start, part.align)
  if padded > stop or (part.length and padded ~= stop) then
    fault(part.name .. " of " .. padded - start .. " bytes with its padding, there are " .. stop - start)
  end
  return padded
end

-- A message that is known as bytes alone, but for what is filled in. Returns where it ends.
local function show_opaque(tree, message, tvb, start, stop)
  if stop > start then
    tree:add(FIELDS["body"], tvb(start, stop - start))
  end
  for _, field in ipairs(message.fields) do
    if start + field.at + field.size <= stop then
      show(tree, field, tvb(start + field.at, field.size))
    end
  end
  if message.varies then
    return stop
  elseif stop - start < message.size then
    fault(message.name .. " of " .. message.size .. " bytes, there are " .. stop - start)
  end
  return start + message.size
end

-- -- checksums ---------------------------------------------------------------------------------------------------------

local function unsigned(value)
  return value < 0 and value + 0x100000000 or value
end

-- Least significant bit first.
local function reflected(bytes, polynomial, value)
  for at = 1, #bytes do
    value = bit.bxor(value, bytes:byte(at))
    for _ = 1, 8 do
      local odd = bit.band(value, 1) == 1
      value = bit.rshift(value, 1)
      if odd then
        value = bit.bxor(value, polynomial)
      end
    end
  end
  return value
end

local function forward_16(bytes, value)
  for at = 1, #bytes do
    value = bit.bxor(value, bit.lshift(bytes:byte(at), 8))
    for _ = 1, 8 do
      local high = bit.band(value, 0x8000) ~= 0
      value = bit.band(bit.lshift(value, 1), 0xFFFF)
      if high then
        value = bit.bxor(value, 0x1021)
      end
    end
  end
  return value
end

local SUMS = {
  ["crc-32"] = function(bytes)
    return unsigned(bit.bnot(reflected(bytes, 0xEDB88320, 0xFFFFFFFF)))
  end,
  ["crc-16/ibm-3740"] = function(bytes)
    return forward_16(bytes, 0xFFFF)
  end,
  ["crc-16/xmodem"] = function(bytes)
    return forward_16(bytes, 0)
  end,
  ["crc-16/kermit"] = function(bytes)
    return reflected(bytes, 0x8408, 0)
  end,
  ["crc-16/ibm-sdlc"] = function(bytes)
    return bit.bxor(reflected(bytes, 0x8408, 0xFFFF), 0xFFFF)
  end,
  ["sum"] = function(bytes, bits)
    local total = 0
    for at = 1, #bytes do
      total = total + bytes:byte(at)
    end
    return total % 2 ^ bits
  end,
  ["internet"] = function(bytes)
    local total, first, second = 0, BIG and 256 or 1, BIG and 1 or 256
    for at = 1, #bytes, 2 do
      total = total + bytes:byte(at) * first + (bytes:byte(at + 1) or 0) * second
    end
    if total > 0 then
      total = (total - 1) % 0xFFFF + 1
    end
    return 0xFFFF - total
  end,
}

local function show_checksum(tree, tvb)
  local sum, size = PROFILE.checksum, tvb:len()
  local at = sum.at < 0 and size + sum.at or sum.at
  local from = sum.from < 0 and size + sum.from or sum.from
  local stop = sum.stop > 0 and sum.stop or size + sum.stop
  local bytes = tvb(from, stop - from):raw()
  if at >= from and at < stop then
    bytes = bytes:sub(1, at - from) .. ("\0"):rep(sum.size) .. bytes:sub(at - from + sum.size + 1)
  end
  local expected, range = SUMS[sum.kind](bytes, 8 * sum.size), tvb(at, sum.size)
  local good = integer(range, false, sum) == expected
  tree:add(FIELDS["checksum.expected"], range, expected):set_generated()
  local item = tree:add(FIELDS["checksum.status"], range, good and 1 or 0):set_generated()
  if not good then
    item:add_proto_expert_info(CHECKSUM, ("checksum is not 0x%x"):format(expected))
  end
end

-- -- requests and responses --------------------------------------------------------------------------------------------

-- By way and kind: requests that nobody has answered yet. By what `place` says: the other frame of a pair.
local waiting, partner = {}, {}

function nmsp.init()
  waiting, partner = {}, {}
end

-- From one end to the other, and back. Not by the number of the stream: when Wireshark reads a file there is no tree yet,
-- and without one no field of TCP.
local function way(pinfo)
  local source = tostring(pinfo.src) .. " " .. pinfo.src_port
  local target = tostring(pinfo.dst) .. " " .. pinfo.dst_port
  return source .. " " .. target, target .. " " .. source
end

-- Link the message at `place` with its partner. Without a transaction, the oldest request of a kind is the one answered.
local function link(tree, message, transaction, pinfo, place)
  if not (message.asks or message.answers) then
    return
  end
  local there, back = way(pinfo)
  if not pinfo.visited then
    if message.answers then
      for _, asked in ipairs(message.answers) do
        local queue = waiting[back .. "|" .. asked .. "|" .. transaction]
        if queue and #queue > 0 then
          local request = table.remove(queue, 1)
          partner[place] = request.frame
          partner[request.place] = pinfo.number
          break
        end
      end
    end
    if message.asks and not partner[place] then
      local key = there .. "|" .. message.name .. "|" .. transaction
      waiting[key] = waiting[key] or {}
      if transaction ~= "" then
        waiting[key] = {} -- asked again with the same number: the newest one is answered
      end
      table.insert(waiting[key], { frame = pinfo.number, place = place })
    end
  end
  if partner[place] then
    local field = message.asks and FIELDS["response_in"] or FIELDS["response_to"]
    tree:add(field, partner[place]):set_generated()
  end
end

-- -- frames ------------------------------------------------------------------------------------------------------------

-- The size of the frame that begins there; nil where no frame is that long.
local function frame_size(tvb, offset)
  local length = PROFILE.length
  local size = integer(tvb(offset + length.at, length.size), false, length) * length.unit + length.added
  return size >= PROFILE.head + PROFILE.foot and size <= PROFILE.max and size or nil
end

local function id_of(tvb)
  local id = 0
  for _, part in ipairs(PROFILE.ids) do
    id = id * 2 ^ (8 * part.size) + integer(tvb(part.at, part.size), false, part)
  end
  return id
end

local function transaction_of(tvb)
  local field = PROFILE.transaction
  return field and tostring(integer(tvb(field.at, field.size), false, field)) or ""
end

local is_ours

-- One whole frame; returns the name of its message.
local function dissect_frame(tvb, pinfo, root, place)
  local tree = root:add(nmsp, tvb())
  local id = id_of(tvb)
  -- Two messages may have one id, one of each side: WLCs are at the ports.
  local of_mse = PROFILE.of_mse and is_ours(pinfo.dst_port) and not is_ours(pinfo.src_port) and PROFILE.of_mse[id]
  local message = of_mse or PROFILE.messages[id]
  local name = message and message.name or "message " .. id
  tree:append_text(", " .. name)
  show_fields(tree, PROFILE.header, tvb, 0, message and message.constants)
  if #PROFILE.ids > 1 then
    tree:add(FIELDS["msg_id"], tvb(PROFILE.ids[1].at, PROFILE.ids[1].size), id):set_generated()
  end
  tree:add(FIELDS["message"], tvb(PROFILE.ids[1].at, PROFILE.ids[1].size), name):set_generated()
  local body_end = tvb:len() - PROFILE.foot
  if message then
    local well, problem = pcall(function()
      local show_body = message.opaque and show_opaque or show_part
      local reached = show_body(tree, message.part or message, tvb, PROFILE.head, body_end)
      if body_end - reached >= PROFILE.align then
        fault(message.name .. " ends at byte " .. reached .. ", its frame goes on to byte " .. body_end)
      end
    end)
    if not well then
      local text = type(problem) == "table" and problem.nmsp or tostring(problem)
      tree:add_proto_expert_info(MALFORMED, text)
      name = name .. " [malformed]"
    end
    link(tree, message, transaction_of(tvb), pinfo, place)
  else
    tree:add_proto_expert_info(UNKNOWN, name)
    if body_end > PROFILE.head then
      tree:add(FIELDS["body"], tvb(PROFILE.head, body_end - PROFILE.head))
    end
  end
  if PROFILE.trailer then
    show_fields(tree, PROFILE.trailer, tvb, body_end)
  end
  if PROFILE.checksum then
    show_checksum(tree, tvb)
  end
  return name
end

-- "echo_request, measurement_notify x 12"
local function told(names)
  local parts, at = {}, 1
  while at <= #names do
    local stop = at
    while names[stop + 1] == names[at] do
      stop = stop + 1
    end
    table.insert(parts, stop > at and names[at] .. " x " .. stop - at + 1 or names[at])
    at = stop + 1
  end
  return table.concat(parts, ", ")
end

-- A packet may have several records, each of which is dissected by itself: in place of what TLS says of them, one behind
-- the other.
local told_of, told_text = 0, ""

local function tell(pinfo, text)
  local info = pinfo.cols.info
  local goes_on = pinfo.number == told_of and tostring(info):sub(1, #told_text) == told_text
  info:set(goes_on and ", " .. text or text)
  info:fence()
  told_of, told_text = pinfo.number, goes_on and told_text .. ", " .. text or text
end

local function dissect(tvb, pinfo, root)
  local offset, whole, names = 0, tvb:reported_length_remaining(), {}
  pinfo.cols.protocol = "NMSP"
  while offset < whole do
    local left, missing = whole - offset, nil
    local size = left >= PROFILE.head and frame_size(tvb, offset)
    if left < PROFILE.head then
      missing = DESEGMENT_ONE_MORE_SEGMENT
    elseif size == nil then
      root:add(nmsp, tvb(offset)):add_proto_expert_info(MALFORMED, "no frame is that long: not NMSP, or its place is lost")
      table.insert(names, "[no frame]")
      break
    elseif size > left then
      missing = size - left
    end
    if missing then
      if pinfo.can_desegment > 0 then
        pinfo.desegment_offset, pinfo.desegment_len = offset, missing
      else
        root:add(nmsp, tvb(offset)):add_proto_expert_info(MALFORMED, "a frame that is cut off")
        table.insert(names, "[cut off]")
      end
      break
    end
    local place = pinfo.number .. "|" .. offset .. "|" .. whole
    local frame = tvb(offset, size):tvb()
    place = place .. "|" .. id_of(frame) .. "|" .. transaction_of(frame)
    table.insert(names, dissect_frame(frame, pinfo, root, place))
    offset = offset + size
  end
  if #names > 0 then
    tell(pinfo, told(names))
  end
  return whole
end

nmsp.dissector = dissect

-- -- where it is looked for --------------------------------------------------------------------------------------------

-- On these ports everything in a tunnel is NMSP. TLS and DTLS ask dissectors that guess first, and those that came last
-- first of all: so this is a guess, too, or others would take frames that happen to look like theirs.
nmsp.prefs.ports = Pref.range("Ports", "16113", "Ports at which WLCs listen", 65535)
local registered, ranges = "", {}

local function look_at(ports)
  for _, name in ipairs({ "tls.port", "dtls.port" }) do
    local of = DissectorTable.get(name)
    if registered ~= "" then
      of:remove(registered, nmsp)
    end
    if ports ~= "" then
      of:add(ports, nmsp)
    end
  end
  registered, ranges = ports, {}
  for low, high in ports:gmatch("(%d+)%-?(%d*)") do
    table.insert(ranges, { tonumber(low), tonumber(high) or tonumber(low) })
  end
end

function is_ours(port)
  for _, range in ipairs(ranges) do
    if port >= range[1] and port <= range[2] then
      return true
    end
  end
  return false
end

local function guess(tvb, pinfo, root)
  if not (is_ours(pinfo.src_port) or is_ours(pinfo.dst_port)) then
    return false
  end
  dissect(tvb, pinfo, root) -- not as `nmsp.dissector`: that counts as one more, which TLS puts nothing together for
  return true
end

function nmsp.prefs_changed()
  look_at(tostring(nmsp.prefs.ports))
end

look_at("16113")
nmsp:register_heuristic("tls", guess)
nmsp:register_heuristic("dtls", guess)
-- For what is not encrypted, or on another port: "Decode as".
DissectorTable.get("tcp.port"):add_for_decode_as(nmsp)
DissectorTable.get("udp.port"):add_for_decode_as(nmsp)
