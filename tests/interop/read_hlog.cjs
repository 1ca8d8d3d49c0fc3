// Reads an interval log with hdr-histogram-js and prints, for each tag, what all of its intervals add up to:
//   node read_hlog.cjs histograms.hlog  ->  {"notify.latency": {"count": ..., "min": ..., ...}, ...}
"use strict";

const fs = require("node:fs");
const hdr = require("hdr-histogram-js");

const text = fs.readFileSync(process.argv[2], "utf-8");
// 64 bits: durations are in ns, and "packed" would be enough for counts only.
const reader = new hdr.HistogramLogReader(text, 64);
const sums = new Map();
const intervals = {};
for (let each = reader.nextIntervalHistogram(); each !== null; each = reader.nextIntervalHistogram()) {
  const sum = sums.get(each.tag);
  if (sum === undefined) {
    sums.set(each.tag, each);
  } else {
    sum.add(each);
  }
  (intervals[each.tag] ??= []).push({
    start_ms: each.startTimeStampMsec,
    end_ms: each.endTimeStampMsec,
    count: each.totalCount,
  });
}
const out = {};
for (const [tag, sum] of sums) {
  out[tag] = {
    count: sum.totalCount,
    min: sum.minNonZeroValue,
    at_zero: sum.getCountAtIndex(0),
    max: sum.maxValue,
    mean: sum.mean,
    p50: sum.getValueAtPercentile(50),
    p90: sum.getValueAtPercentile(90),
    p99: sum.getValueAtPercentile(99),
    p99_9: sum.getValueAtPercentile(99.9),
    intervals: intervals[tag],
  };
}
process.stdout.write(JSON.stringify(out));
