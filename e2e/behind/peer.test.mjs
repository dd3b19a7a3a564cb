// An app server that acts as the .NET SDK does, behind the service: the same tests
// as without it, to the official client over every transport and both protocols.
process.env.E2E_MATRIX ??= "short"; // make test-behind runs the whole
process.env.SIGNALBOX_BEHIND = "peer";
for (const file of ["invocations", "streams", "targets", "reconnect"]) await import(`../conformance/${file}.test.mjs`);
