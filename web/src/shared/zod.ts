import { z } from "zod";

// Zod tries whether it may make code out of text. It may not, by the consoles'
// Content-Security-Policy, and each try would be a violation.
z.config({ jitless: true });

export { z };
