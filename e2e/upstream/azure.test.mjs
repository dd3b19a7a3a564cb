// Functions in Azure's upstream format serve the conformance tests' hub: the same
// tests, to the official client over every transport and protocol, less what the
// format can't carry.
process.env.SIGNALBOX_BEHIND = "azure";
for (const file of ["invocations", "streams", "targets", "reconnect"]) await import(`../conformance/${file}.test.mjs`);
