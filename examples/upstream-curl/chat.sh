#!/usr/bin/env bash
# A chat room behind Signalbox: an upstream in native mode as a shell script. It
# reads one HTTP request and writes the answer, so anything that runs a program
# for each connection serves it; see README.md. It needs curl, jq and openssl.
set -euo pipefail

# answer STATUS [TYPE BODY]
answer() {
  printf 'HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' \
    "$1" "${2:-text/plain}" "$(printf %s "${3:-}" | wc -c | tr -d ' ')" "${3:-}"
  exit
}

# refuse TEXT: what the client is told.
refuse() { answer "400 Bad Request" application/problem+json "$(jq -cn --arg detail "$1" '{$detail}')"; }

# rest METHOD PATH [JSON]: calls the hub's REST API.
rest() {
  curl --silent --show-error --fail --output /dev/null -X "$1" "$SIGNALBOX_URL/api/v1/hubs/$hub$2" \
    -H "Authorization: Bearer $SIGNALBOX_KEY" -H "Content-Type: application/json" ${3:+--data "$3"} ||
    answer "500 Internal Server Error"
}

# signed: is it Signalbox that posts this, now? See standardwebhooks.com.
signed() {
  [[ $at =~ ^[0-9]+$ ]] && (($(date +%s) - at < 300 && at - $(date +%s) < 300)) || return 1
  local key want signature
  key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
  want=$(printf %s "$id.$at.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
  for signature in $signatures; do
    [[ $signature == "v1,$want" ]] && return 0
  done
  return 1
}

id='' at='' signatures='' origin='' length=0 body=''
IFS=' ' read -r method _
while IFS= read -r line && line=${line%$'\r'} && [[ -n $line ]]; do
  value=${line#*: }
  case ${line%%:*} in
    [Ww]ebhook-[Ii]d) id=$value ;;
    [Ww]ebhook-[Tt]imestamp) at=$value ;;
    [Ww]ebhook-[Ss]ignature) signatures=$value ;;
    [Ww]ebhook-[Rr]equest-[Oo]rigin) origin=$value ;;
    [Cc]ontent-[Ll]ength) length=$value ;;
  esac
done

if [[ $method == OPTIONS ]]; then
  # Signalbox asks once, when the URL is saved, whether we want its requests.
  printf 'HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$origin"
  exit
fi
body=$(head -c "$length")
signed || answer "401 Unauthorized"

field() { jq -r "$1 // empty" <<<"$body"; }
[[ $(field .type) == invocation ]] || answer "200 OK" # connected, disconnected
hub=$(field .hub) user=$(field .user_id) connection=$(field .connection_id)
group=/groups/$(field '.arguments[0] | strings | @uri')

case $(field .target) in
  join)
    [[ $group != /groups/ ]] || refuse "Which room?"
    rest PUT "$group/connections/$connection"
    rest POST "$group" "$(jq -cn --arg text "$user is here" '{target: "notice", arguments: [$text]}')"
    answer "200 OK"
    ;;
  say)
    rest POST "$group" "$(jq -c '{target: "message", arguments: [.user_id, .arguments[1]]}' <<<"$body")"
    answer "200 OK" application/json "$(date -u +'"%Y-%m-%dT%H:%M:%SZ"')" # completes the invocation
    ;;
  countdown)
    printf 'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n'
    for ((n = $(field '.arguments[0] | numbers'); n >= 0; n--)); do
      echo "$n" # the script ends here once the client has cancelled or left
      sleep 0.1
    done
    ;;
  *) refuse "Method does not exist." ;;
esac
