import { connect } from "@/shared/api/connect";
import type { paths } from "./schema";

/** The operators' API, and hooks and query options over it; typed by its OpenAPI document. */
export const { api, query } = connect<paths>();
