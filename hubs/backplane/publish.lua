-- Appends one entry to a hub: numbers it, counts it, remembers its answer and
-- rings the doorbell, all or nothing.
--
-- What is behind KEYS 3 and ARGV 6 may be left out: nothing of it is asked for then.
--
-- KEYS  1 head  2 stream  3 accepted  4 answers of the publisher  5 edges
--       6 idempotency key (the answers again when there is none)  7... with ARGV 10:
--       the users whose groups are remembered, by the end of that; the bytes of each
--       and, as '', of all of them; users' groups. Then the indexes of the groups that
--       the entry is for, and, when there are some, any index: it is trimmed, so that
--       those of quiet groups are, too
-- ARGV  1 publisher  2 sequence of this publish  3 entry  4 doorbell; '' = none is
--       rung, 'edges' = none, and the answer names the edges that follow the hub
--       5 charge  6 epoch to begin with when the hub has none, retention in ms, most
--       entries, most bytes, life of the head in ms, with blanks between them
--       7 slot of this publish in KEYS 4; '' = it is the only one of its round trip
--       8 hash of the request, or ''  9 idempotency memory, ms
--       10 '', 'add', 'remove' or 'clear'  11 ms until a user leaves the
--       groups again  12 most groups of a user  13 how many indexes the entry is
--       for, '' = groups have none in this hub  14 most bytes of all users' groups
--       15... groups
-- Answer: 'dup epoch number', 'conflict', 'late', or 'full bytes' of users' groups;
--       otherwise sequence, ms, number and total, which is that of the minute of the ms,
--       as integers of eight bytes, receivers as one of four, and 'epoch', with blanks
--       between that, the bytes in the stream, when they were measured, and the edges,
--       each behind a comma.
--
-- The head is a hash. 'epoch' is a text, 'at' six integers of eight bytes: number and ms
-- of the last entry, bytes of all entries so far, number of the first entry with
-- indexes or 0, the minute that is counted and its total; the totals of the minutes
-- before are in KEYS 3. With 'sealed' nothing is appended any more. Each publisher's
-- field is its last sequence and the ms of that, or the answer, which begins with both,
-- when the publish was the only one of its round trip. All of them are short enough for
-- Redis to keep the hash as a list.

-- What most publishes need is done with as few calls, lookups of names, closures and
-- texts as can be: they, and not the commands, are most of what a publish costs Redis,
-- which also hashes each text that Lua gets or makes, byte by byte. So n - n % m stands
-- for rounding down, and numbers that only scripts read are no texts.
local call, format, pack, unpack = redis.call, string.format, struct.pack, struct.unpack
local KEYS, ARGV = KEYS, ARGV
local publisher, entry = ARGV[1], ARGV[3]
local slot, hash, operation, index = ARGV[7], '', '', ''
if slot then
  hash, operation, index = ARGV[8] or '', ARGV[10] or '', ARGV[13] or ''
else
  slot = ''
end

-- A sequence at or below the last one is a repeat of what was answered, or a
-- straggler that a later publish has overtaken.
local seq = ARGV[2] + 0
local head = call('HMGET', KEYS[1], 'at', publisher, 'epoch')
local at, mine, epoch = head[1], head[2], head[3]
if mine then
  local last = unpack('>I8', mine)
  if seq <= last then
    local known = slot ~= '' and call('HGET', KEYS[4], slot)
    if not known and seq == last then known = mine end
    if known and #known > 16 and unpack('>I8', known) == seq then return known end
    return 'late'
  end
end
if not at and call('HEXISTS', KEYS[1], 'sealed') == 1 then return redis.error_reply('SEALED') end

if hash ~= '' then
  local first = call('GET', KEYS[6])
  if first then
    if string.sub(first, 1, #hash) ~= hash then return 'conflict' end
    return 'dup' .. string.sub(first, #hash + 1)
  end
end

local time = call('TIME')
local now = time[1] * 1000 + time[2] / 1000
now = now - now % 1

-- A user's groups count with their names and what Redis needs for them.
local indexes, behind = 0, #KEYS -- the last key before the indexes
if index ~= '' then
  indexes = tonumber(index)
  behind = behind - indexes - math.min(indexes, 1)
end
local firstUser = 9
local int, user, grown, forget
if operation ~= '' then
  function int(n) return string.format('%d', n) end -- exact for what a double is exact for
  function user(k) return string.sub(KEYS[k], #KEYS[7] - #'remembered:users' + #'ugroups:' + 1) end
  function grown(who, bytes)
    call('HINCRBY', KEYS[8], who, int(bytes))
    call('HINCRBY', KEYS[8], '', int(bytes))
  end
  function forget(who)
    call('ZREM', KEYS[7], who)
    local bytes = call('HGET', KEYS[8], who)
    if not bytes then return end
    grown(who, -tonumber(bytes))
    call('HDEL', KEYS[8], who)
  end
end
if operation == 'add' then
  for _, who in ipairs(call('ZRANGEBYSCORE', KEYS[7], '-inf', int(now), 'LIMIT', 0, 100)) do forget(who) end
  local more = 0
  for k = firstUser, behind do
    if call('EXISTS', KEYS[k]) == 0 then
      forget(user(k))
      more = more + 256 + #user(k)
    end
    for a = 15, #ARGV do
      if call('HEXISTS', KEYS[k], ARGV[a]) == 0 then more = more + 64 + #ARGV[a] end
    end
  end
  local held = tonumber(call('HGET', KEYS[8], '')) or 0
  if more > 0 and held + more > tonumber(ARGV[14]) then return 'full ' .. int(held) end
end

local number, ms, sum, indexed, minute, total, new, old
if epoch and at then
  number, ms, sum, indexed, minute, total = unpack('>I8I8I8I8I8I8', at)
else -- no head, or one as the version before had them: its numbers go on
  local before = epoch and call('HMGET', KEYS[1], 'number', 'ms', 'sum', 'indexed')
  if before and before[1] and before[2] then
    number, ms, sum, indexed = tonumber(before[1]), tonumber(before[2]), tonumber(before[3]) or 0, tonumber(before[4]) or 0
    minute, total, old = 0, 0, true
  else
    number, ms, sum, indexed, minute, total, new = 0, 0, 0, 0, 0, 0, true
  end
end
number = number + 1
local before = ms
-- Lives are prolonged once in a while: what a stream has in hand is more than that.
local slack = 15000
local prolong = number == 1 or now - now % slack ~= ms - ms % slack
if now > ms then ms = now end -- a clock that went back must not stop the hub

local size = #entry + 32 * indexes
sum = sum + size -- of all entries so far: the stream has those since its oldest
local tidy = prolong or number % 16 == 0 or sum % 65536 < size -- what is too old goes in lots
local begin, retention, most, room, life
if tidy or index ~= '' then
  begin, retention, most, room, life = string.match(ARGV[6], '^(%S+) (%d+) (%d+) (%d+) (%d+)$')
end
if new then
  epoch = begin
  call('DEL', KEYS[2], KEYS[3]) -- of a head that was lost
end
local msText, numberText, sumText = format('%d', ms), format('%d', number), format('%d', sum)
local id = msText .. '-' .. numberText
local added
if tidy then
  added = redis.pcall('XADD', KEYS[2], 'MINID', '~', format('%d', now - tonumber(retention)), id, 'epoch', epoch, 'entry', entry, 'sum', sumText)
else
  added = redis.pcall('XADD', KEYS[2], id, 'epoch', epoch, 'entry', entry, 'sum', sumText)
end
if added ~= id and string.find(added.err, 'equal or smaller', 1, true) then
  -- What isn't of this script stands further on in the stream, perhaps by
  -- thousands of years. Nothing can follow it: the hub begins anew.
  call('DEL', KEYS[2], KEYS[3])
  begin, retention, most, room, life = string.match(ARGV[6], '^(%S+) (%d+) (%d+) (%d+) (%d+)$')
  epoch, number, ms, sum, indexed, minute, total, new, prolong, tidy = begin, 1, now, size, 0, 0, 0, true, true, true
  msText, numberText, sumText = format('%d', ms), format('%d', number), format('%d', sum)
  id = msText .. '-' .. numberText
  added = redis.pcall('XADD', KEYS[2], id, 'epoch', epoch, 'entry', entry, 'sum', sumText)
end
if added ~= id then return added end

local more = ''
if tidy and (number % 64 == 0 or sum % 1048576 < size) then
  local function held()
    local first = call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    return sum - (tonumber(first[2][6]) or 0) + #(first[2][4] or '')
  end
  local bytes = held()
  local length, most = call('XLEN', KEYS[2]), tonumber(most)
  if bytes > tonumber(room) then most = math.min(most, math.floor(length * tonumber(room) / bytes)) end
  if length > most then
    call('XTRIM', KEYS[2], 'MAXLEN', '~', format('%d', math.max(most, 1)))
    bytes = held()
  end
  more = format(' %d', bytes)
  -- Publishers that have rested for 20 minutes are forgotten: nothing of theirs is on its way.
  if call('HLEN', KEYS[1]) > 32 then
    local all = call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 1) == '.' then
        local _, used = unpack('>I8I8', all[i + 1])
        if used < now - 1200000 then call('HDEL', KEYS[1], all[i]) end
      end
    end
  end
end

if index == '' then
  indexed = 0
elseif indexed == 0 then
  indexed = number
end
if indexes > 0 then
  -- An index holds no more than the stream: not what is too old, nor what was too much.
  local first = call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1][1]
  call('XTRIM', KEYS[#KEYS], 'MINID', '~', first)
  for k = behind + 1, behind + indexes do
    local added = redis.pcall('XADD', KEYS[k], 'MINID', '~', first, id, 'n', '')
    if added ~= id then -- it is of an epoch whose clock was ahead
      call('DEL', KEYS[k])
      call('XADD', KEYS[k], id, 'n', '')
    end
    call('PEXPIRE', KEYS[k], format('%d', tonumber(retention) + 60000))
  end
end
if prolong then call('PEXPIRE', KEYS[2], format('%d', tonumber(retention) + 60000 + slack)) end

local charge, counted = ARGV[5] + 0, 0
if charge > 0 then
  local this = (now - now % 60000) / 60000
  if this ~= minute then -- perhaps to one that has been before: clocks go back
    if total > 0 then call('HSET', KEYS[3], format('%d', minute), format('%d', total)) end
    minute, total = this, tonumber(call('HGET', KEYS[3], format('%d', this))) or 0
    for _, old in ipairs(call('HKEYS', KEYS[3])) do
      if tonumber(old) < minute - 60 then call('HDEL', KEYS[3], old) end
    end
    call('PEXPIRE', KEYS[3], 7200000)
  end
  total = total + charge
  counted = total
end

if hash ~= '' then
  call('SET', KEYS[6], hash .. ' ' .. epoch .. ' ' .. numberText, 'PX', ARGV[9])
end

for k = firstUser, operation ~= '' and behind or 0 do
  local who = user(k)
  if operation == 'clear' then
    call('DEL', KEYS[k])
  elseif operation == 'remove' then
    for a = 15, #ARGV do
      if call('HDEL', KEYS[k], ARGV[a]) == 1 then grown(who, -64 - #ARGV[a]) end
    end
  elseif operation == 'add' then
    if call('EXISTS', KEYS[k]) == 0 then grown(who, 256 + #who) end
    for a = 15, #ARGV do
      if call('HSET', KEYS[k], ARGV[a], int(ms + tonumber(ARGV[11]))) == 1 then grown(who, 64 + #ARGV[a]) end
    end
    -- The groups that end first make room.
    local most = tonumber(ARGV[12])
    if call('HLEN', KEYS[k]) > most then
      local all, ends = call('HGETALL', KEYS[k]), {}
      for i = 1, #all, 2 do ends[#ends + 1] = { all[i], tonumber(all[i + 1]) } end
      table.sort(ends, function(a, b) return a[2] < b[2] end)
      for i = 1, #ends - most do
        call('HDEL', KEYS[k], ends[i][1])
        grown(who, -64 - #ends[i][1])
      end
    end
    local left = call('PTTL', KEYS[k])
    if left < tonumber(ARGV[11]) then
      left = tonumber(ARGV[11])
      call('PEXPIRE', KEYS[k], int(left))
    end
    call('ZADD', KEYS[7], int(now + left), who)
    for i = 7, 8 do
      if call('PTTL', KEYS[i]) < left then call('PEXPIRE', KEYS[i], int(left + 60000)) end
    end
  end
  if call('EXISTS', KEYS[k]) == 0 then forget(who) end
end

local receivers = 0
if ARGV[4] == 'edges' then
  more = more .. ' ,' .. table.concat(call('SMEMBERS', KEYS[5]), ',')
elseif ARGV[4] ~= '' then
  receivers = call('PUBLISH', ARGV[4], 'E' .. epoch .. ' ' .. numberText .. ' ' .. msText .. ' ' .. entry)
end
local answer = pack('>I8I8I8I8I4c0', seq, now, number, counted, receivers, epoch .. more)
local last = answer
if slot ~= '' then
  call('HSET', KEYS[4], slot, answer)
  call('PEXPIRE', KEYS[4], 1200000)
  last = pack('>I8I8', seq, now)
end
-- The script of the version before fails with this number before they do anything.
if new or old then call('HSET', KEYS[1], 'epoch', epoch, 'number', 'inf', 'ms', '0') end
call('HSET', KEYS[1], 'at', pack('>I8I8I8I8I8I8', number, ms, sum, indexed, minute, total), publisher, last)
if tidy and (number % 64 == 0 or number == 1 or now > before + 60000) then call('PEXPIRE', KEYS[1], life) end -- often enough for days
return answer
