import type { components } from "./schema";

type Schemas = components["schemas"];

export type Session = Schemas["Session"];
export type Tenant = Schemas["Tenant"];
export type AccessKey = Schemas["AccessKey"];
export type AccessKeySecret = Schemas["AccessKeySecret"];
export type KeySlot = Schemas["KeySlot"];
export type Hub = Schemas["Hub"];
export type HubSettings = Schemas["HubSettings"];
export type Handler = Schemas["HubHandler"];
export type Upstream = Schemas["Upstream"];
export type UpstreamMode = Schemas["UpstreamMode"];
export type Delivery = Schemas["UpstreamDelivery"];
export type DeliveryContent = Schemas["DeliveryContent"];
export type DeliveryOutcome = Schemas["DeliveryOutcome"];
export type WebhookSecret = Schemas["WebhookSecret"];
export type Limit = Schemas["Limit"];
export type Usage = Schemas["Usage"];
export type UsagePoint = Schemas["UsagePoint"];
export type UsageValues = Schemas["UsageValues"];
export type UsageMonth = Schemas["UsageMonth"];
export type UsageStep = Schemas["UsageStep"];
export type Activity = Schemas["Activity"];
export type LiveUsage = Schemas["LiveUsage"];
export type Mail = Schemas["Mail"];
