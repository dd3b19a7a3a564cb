import { connect } from "./connect";
import type { paths } from "./schema";

/** The control plane, and hooks and query options over it; typed by its OpenAPI document. */
export const { api, query } = connect<paths>();
