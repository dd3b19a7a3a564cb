-- Appends one entry to a hub: numbers it, counts it, remembers its answer and
-- rings the doorbell, all or nothing.
--
-- What is behind KEYS 4 and ARGV 10 may be left out: nothing of it is asked for then.
--
-- KEYS  1 head  2 stream  3 accepted  4 publisher  5 edges  6 idempotency key (the
--       publisher again when there is none)  7... with ARGV 13: the users whose
--       groups are remembered, by the end of that; the bytes of each and, as '',
--       of all of them; users' groups. Then the indexes of the groups that the
--       entry is for, and, when there are some, any index: it is trimmed, so that
--       those of quiet groups are, too
-- ARGV  1 epoch to begin with when the hub has none  2 entry  3 doorbell; '' = none
--       is rung, 'edges' = none, and the answer names the edges that follow the hub
--       4 sequence of this publish  5 its slot in the publisher's memory
--       6 retention, ms  7 most entries  8 most bytes  9 life of the head, ms
--       10 charge  11 hash of the request, or ''  12 idempotency memory, ms
--       13 '', 'add', 'remove' or 'clear'  14 ms until a user leaves the
--       groups again  15 most groups of a user  16 how many indexes the entry is
--       for, '' = groups have none in this hub  17 most bytes of all users' groups
--       18... groups
-- Answer: 'ok epoch number ms receivers minute total bytes', 'dup epoch number',
--       'conflict', 'late', or 'full bytes' of users' groups. Receivers are a number, or
--       the edges, each behind a comma. The bytes are those of the stream; -1 = not
--       measured this time.

-- What most publishes need is done with as few calls, closures and texts as can be:
-- they, and not the commands, are most of what a publish costs Redis. So n - n % m
-- stands for rounding down.
local call, format = redis.call, string.format
local function int(n) return format('%d', n) end -- exact for what a double is exact for
local hash, operation, index = ARGV[11] or '', ARGV[13] or '', ARGV[16] or ''

-- A sequence at or below the last one is a repeat of what was answered, or a
-- straggler that a later publish has overtaken.
local seq, slot = tonumber(ARGV[4]), ARGV[5]
local last = call('HMGET', KEYS[4], 'last', slot)
local before = last[1] and tonumber(last[1])
if before and seq <= before then
  local known = ARGV[4] .. ' '
  if last[2] and string.sub(last[2], 1, #known) == known then
    return string.sub(last[2], #known + 1)
  end
  return 'late'
end

if hash ~= '' then
  local first = redis.call('GET', KEYS[6])
  if first then
    if string.sub(first, 1, #hash) ~= hash then return 'conflict' end
    return 'dup' .. string.sub(first, #hash + 1)
  end
end

local time = call('TIME')
local micros = tonumber(time[2])
local now = time[1] * 1000 + (micros - micros % 1000) / 1000

-- A user's groups count with their names and what Redis needs for them.
local indexes = tonumber(index) or 0
local behind = #KEYS - indexes - math.min(indexes, 1) -- the last key before the indexes
local firstUser, lastUser = 9, behind
local user, grown, forget
if operation ~= '' then
  function user(k) return string.sub(KEYS[k], #KEYS[7] - #'remembered:users' + #'ugroups:' + 1) end
  function grown(who, bytes)
    redis.call('HINCRBY', KEYS[8], who, int(bytes))
    redis.call('HINCRBY', KEYS[8], '', int(bytes))
  end
  function forget(who)
    redis.call('ZREM', KEYS[7], who)
    local bytes = redis.call('HGET', KEYS[8], who)
    if not bytes then return end
    grown(who, -tonumber(bytes))
    redis.call('HDEL', KEYS[8], who)
  end
end
if operation == 'add' then
  for _, who in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', int(now), 'LIMIT', 0, 100)) do forget(who) end
  local more = 0
  for k = firstUser, lastUser do
    if redis.call('EXISTS', KEYS[k]) == 0 then
      forget(user(k))
      more = more + 256 + #user(k)
    end
    for a = 18, #ARGV do
      if redis.call('HEXISTS', KEYS[k], ARGV[a]) == 0 then more = more + 64 + #ARGV[a] end
    end
  end
  local held = tonumber(redis.call('HGET', KEYS[8], '')) or 0
  if more > 0 and held + more > tonumber(ARGV[17]) then return 'full ' .. int(held) end
end

local head = call('HMGET', KEYS[1], 'epoch', 'number', 'ms', 'sum', 'indexed')
local epoch, number, ms, sum, indexed = head[1], tonumber(head[2]), tonumber(head[3]), tonumber(head[4]) or 0, head[5]
if not (epoch and number and ms) then
  epoch, number, ms = ARGV[1], 0, 0
  redis.call('DEL', KEYS[2], KEYS[3]) -- of a head that was lost
end
number = number + 1
local rested = now > ms + 60000
-- Lives are prolonged once in a while: what a stream has in hand is more than that.
local slack = 15000
local prolong = number == 1 or now - now % slack ~= ms - ms % slack
if now > ms then ms = now end -- a clock that went back must not stop the hub

local size = #ARGV[2] + 32 * indexes
sum = sum + size -- of all entries so far: the stream has those since its oldest
local msText, numberText, sumText = format('%d', ms), format('%d', number), format('%d', sum)
local id = msText .. '-' .. numberText
local added
if prolong or number % 16 == 0 or sum % 65536 < size then -- what is too old goes in lots
  added = redis.pcall('XADD', KEYS[2], 'MINID', '~', int(now - tonumber(ARGV[6])), id, 'epoch', epoch, 'entry', ARGV[2], 'sum', sumText)
else
  added = redis.pcall('XADD', KEYS[2], id, 'epoch', epoch, 'entry', ARGV[2], 'sum', sumText)
end
if added.err and string.find(added.err, 'equal or smaller', 1, true) then
  -- What isn't of this script stands further on in the stream, perhaps by
  -- thousands of years. Nothing can follow it: the hub begins anew.
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('HDEL', KEYS[1], 'indexed')
  epoch, number, ms, sum, indexed, prolong = ARGV[1], 1, now, size, nil, true
  msText, numberText, sumText = int(ms), int(number), int(sum)
  id = msText .. '-' .. numberText
  added = redis.pcall('XADD', KEYS[2], id, 'epoch', epoch, 'entry', ARGV[2], 'sum', sumText)
end
if added.err then return added end

local bytes = -1
if number % 64 == 0 or sum % 1048576 < size then
  local function held()
    local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    return sum - (tonumber(first[2][6]) or 0) + #(first[2][4] or '')
  end
  bytes = held()
  local length, most = redis.call('XLEN', KEYS[2]), tonumber(ARGV[7])
  if bytes > tonumber(ARGV[8]) then most = math.min(most, math.floor(length * tonumber(ARGV[8]) / bytes)) end
  if length > most then
    redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', int(math.max(most, 1)))
    bytes = held()
  end
end

call('HSET', KEYS[1], 'epoch', epoch, 'number', numberText, 'ms', msText, 'sum', sumText)
if index == '' then
  if indexed then redis.call('HDEL', KEYS[1], 'indexed') end
elseif not indexed then
  redis.call('HSET', KEYS[1], 'indexed', numberText)
end
-- An index holds no more than the stream: not what is too old, nor what was too much.
local first = indexes > 0 and redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1][1]
if first then redis.call('XTRIM', KEYS[#KEYS], 'MINID', '~', first) end
for k = behind + 1, behind + indexes do
  local added = redis.pcall('XADD', KEYS[k], 'MINID', '~', first, id, 'n', '')
  if added.err then -- it is of an epoch whose clock was ahead
    redis.call('DEL', KEYS[k])
    redis.call('XADD', KEYS[k], id, 'n', '')
  end
  redis.call('PEXPIRE', KEYS[k], int(tonumber(ARGV[6]) + 60000))
end
if number % 64 == 1 or rested then redis.call('PEXPIRE', KEYS[1], ARGV[9]) end -- often enough for days
if prolong then redis.call('PEXPIRE', KEYS[2], int(tonumber(ARGV[6]) + 60000 + slack)) end

local minute, total = (now - now % 60000) / 60000, 0
local minuteText = format('%d', minute)
local charge = tonumber(ARGV[10])
if charge > 0 then
  total = call('HINCRBY', KEYS[3], minuteText, ARGV[10])
  if total == charge then
    for _, old in ipairs(redis.call('HKEYS', KEYS[3])) do
      if tonumber(old) < minute - 60 then redis.call('HDEL', KEYS[3], old) end
    end
    redis.call('PEXPIRE', KEYS[3], 7200000)
  end
end

if hash ~= '' then
  redis.call('SET', KEYS[6], hash .. ' ' .. epoch .. ' ' .. numberText, 'PX', ARGV[12])
end

for k = firstUser, operation ~= '' and lastUser or 0 do
  local who = user(k)
  if operation == 'clear' then
    redis.call('DEL', KEYS[k])
  elseif operation == 'remove' then
    for a = 18, #ARGV do
      if redis.call('HDEL', KEYS[k], ARGV[a]) == 1 then grown(who, -64 - #ARGV[a]) end
    end
  elseif operation == 'add' then
    if redis.call('EXISTS', KEYS[k]) == 0 then grown(who, 256 + #who) end
    for a = 18, #ARGV do
      if redis.call('HSET', KEYS[k], ARGV[a], int(ms + tonumber(ARGV[14]))) == 1 then grown(who, 64 + #ARGV[a]) end
    end
    -- The groups that end first make room.
    local most = tonumber(ARGV[15])
    if redis.call('HLEN', KEYS[k]) > most then
      local all, ends = redis.call('HGETALL', KEYS[k]), {}
      for i = 1, #all, 2 do ends[#ends + 1] = { all[i], tonumber(all[i + 1]) } end
      table.sort(ends, function(a, b) return a[2] < b[2] end)
      for i = 1, #ends - most do
        redis.call('HDEL', KEYS[k], ends[i][1])
        grown(who, -64 - #ends[i][1])
      end
    end
    local left = redis.call('PTTL', KEYS[k])
    if left < tonumber(ARGV[14]) then
      left = tonumber(ARGV[14])
      redis.call('PEXPIRE', KEYS[k], int(left))
    end
    redis.call('ZADD', KEYS[7], int(now + left), who)
    for i = 7, 8 do
      if redis.call('PTTL', KEYS[i]) < left then redis.call('PEXPIRE', KEYS[i], int(left + 60000)) end
    end
  end
  if redis.call('EXISTS', KEYS[k]) == 0 then forget(who) end
end

local receivers = '0'
if ARGV[3] == 'edges' then
  receivers = ',' .. table.concat(redis.call('SMEMBERS', KEYS[5]), ',')
elseif ARGV[3] ~= '' then
  receivers = format('%d', call('PUBLISH', ARGV[3], 'E' .. epoch .. ' ' .. numberText .. ' ' .. msText .. ' ' .. ARGV[2]))
end
local answer = 'ok ' .. epoch .. ' ' .. numberText .. ' ' .. msText .. ' ' .. receivers .. ' ' .. minuteText .. ' ' .. format('%d', total) .. ' ' .. format('%d', bytes)
call('HSET', KEYS[4], 'last', ARGV[4], slot, ARGV[4] .. ' ' .. answer)
-- A publisher is forgotten after two minutes of rest, so four publishes take ten at most.
if not before or seq - seq % 4 > before then
  redis.call('PEXPIRE', KEYS[4], 1200000)
end
return answer
