import {
  HubConnectionBuilder,
  JsonHubProtocol,
  LogLevel,
  MessageType,
  type HubConnection,
  type ILogger,
  type IRetryPolicy,
} from "@microsoft/signalr";

import { retryDelay } from "./retryDelay";
import type { HubMessage } from "./feed";

// The stock JSON protocol, which also reports every invocation: `on` needs the
// names beforehand, and a page that shows whatever arrives can't know them.
class ObservedJsonProtocol extends JsonHubProtocol {
  constructor(private readonly observe: (message: HubMessage) => void) {
    super();
  }

  override parseMessages(input: string, logger: ILogger) {
    const messages = super.parseMessages(input, logger);
    for (const message of messages) {
      if (message.type === MessageType.Invocation) {
        this.observe({ target: message.target, arguments: message.arguments });
      }
    }
    return messages;
  }
}

// Never gives up: the page may outlive any outage.
const patiently: IRetryPolicy = {
  nextRetryDelayInMilliseconds: ({ previousRetryCount }) => retryDelay(previousRetryCount),
};

/**
 * A SignalR connection that reconnects for as long as it is allowed to, and
 * hands every message to `observe`. `token` is asked before each connect.
 */
export function buildConnection(
  url: string,
  token: () => Promise<string>,
  observe: (message: HubMessage) => void,
): HubConnection {
  return new HubConnectionBuilder()
    .withUrl(url, { accessTokenFactory: token, withCredentials: false })
    .withHubProtocol(new ObservedJsonProtocol(observe))
    .withAutomaticReconnect(patiently)
    .configureLogging(LogLevel.None)
    .build();
}
