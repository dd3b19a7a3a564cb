// An upstream in the native format serves the conformance tests' hub: the same
// tests, to the official client over every transport and protocol, less what the
// mode can't have.
process.env.SIGNALBOX_BEHIND = "native";
for (const file of ["invocations", "streams", "targets", "reconnect"]) await import(`../conformance/${file}.test.mjs`);
