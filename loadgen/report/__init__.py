"""Pure functions from a result, or a run in progress, to what people look at; and `folder`, where both are kept.

`terminal` (and `progress`, in one line), `capacity`, `comparison`, `forecast`, `layout` (a wire profile), `status`,
`dissector` (a wire profile, for Wireshark), with `figures` (numbers for people), `clocks` (those of others),
`missing` (what a layout cannot give) and `tried` (the loads of a search); `html` with its `charts`, `run_charts` and
`search_charts`, `live` (a page of a run that goes on); `markdown`, `junit`, `formats`; `recording` (of tunnels);
`inference` and `inference_tables` (an inferred layout); `folder` (the result folder, filled as a run goes on).
"""
