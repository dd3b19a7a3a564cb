-- KEYS  1 head  2 stream  3 idempotency key, if there is one
-- ARGV  1 epoch to begin with  2 doorbell  3 version  4 kind  5 target  6 payload
local call, format = redis.call, string.format
if KEYS[3] then
  local known = call('GET', KEYS[3])
  if known then return known end
end
local head = call('HMGET', KEYS[1], 'epoch', 'n')
local epoch, n = head[1], format('%d', (head[2] or 0) + 1)
if epoch then
  call('HSET', KEYS[1], 'n', n)
else
  epoch = ARGV[1]
  call('HSET', KEYS[1], 'epoch', epoch, 'n', n)
end
local oldest = format('%d000', call('TIME')[1] - 180)
call('XADD', KEYS[2], 'MINID', '~', oldest, '*', 'v', ARGV[3], 'n', n, 'kind', ARGV[4], 'target', ARGV[5], 'payload', ARGV[6])
local answer = epoch .. ' ' .. n
call('PUBLISH', ARGV[2], answer .. ' ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. ARGV[6])
if KEYS[3] then call('SET', KEYS[3], answer, 'PX', 120000) end
return answer
