-- Reads a part of a hub's stream.
--
-- KEYS  1 head  2 stream  3 index of a group, and of others
--       with it; the stream again when none is meant
-- ARGV  1 'up' or 'down'  2 epoch that the lowest number is of, '' = any
--       3 lowest number, 0 = the oldest  4 lowest ms, 0 = any  5 number to end
--       before, 0 = behind the newest  6 most entries  7 most bytes
-- Answer: epoch, number of the newest, number of the oldest, 1 when it is
--       the index that was read, number that was read up to, 1 when there is
--       more, then id, epoch and entry of each. An epoch of '' = no hub. When the
--       lowest number is not there the answer ends behind the oldest.

local function int(n) return string.format('%.0f', n) end
local function split(id)
  local dash = string.find(id, '-', 1, true)
  return tonumber(string.sub(id, 1, dash - 1)), tonumber(string.sub(id, dash + 1))
end

local head = redis.call('HMGET', KEYS[1], 'epoch', 'at', 'number', 'indexed')
local newest, indexed = tonumber(head[3]), tonumber(head[4]) -- of the version before
if head[2] then
  newest, indexed = struct.unpack('>I8', head[2]), struct.unpack('>I8', head[2], 25)
  if indexed == 0 then indexed = nil end
elseif newest == math.huge then
  newest = nil -- it is sealed
end
if not (head[1] and newest) then return { '', '0', '1' } end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local oldest, low_ms, high_ms = newest + 1, 0, 0
if first then
  low_ms, oldest = split(first[1])
  high_ms = split(last[1])
end
local answer = { head[1], int(newest), int(oldest) }
local low, high = tonumber(ARGV[3]), tonumber(ARGV[5])
local up = ARGV[1] == 'up'
if ARGV[2] ~= '' and ARGV[2] ~= head[1] or up and low > 0 and (low < oldest or low > newest + 1) then return answer end
if high == 0 or high > newest + 1 then high = newest + 1 end
if low < oldest then low = oldest end

-- The id from which on numbers are at least n. Numbers and times rise together.
local function seek(n)
  local a, b = low_ms, high_ms
  while a < b do
    local middle = math.ceil((a + b) / 2)
    local found = redis.call('XRANGE', KEYS[2], int(middle), '+', 'COUNT', 1)[1]
    local _, number = split(found[1])
    if number <= n then a = middle else b = middle - 1 end
  end
  return int(a) .. '-' .. int(n)
end

local source, by_index = KEYS[2], 0
if KEYS[3] ~= KEYS[2] and indexed and indexed <= low then source, by_index = KEYS[3], 1 end
answer[4], answer[5], answer[6] = by_index, int(up and high - 1 or low), 0
if low >= high or not first then return answer end

local from, to = seek(low), seek(high - 1)
local ms = tonumber(ARGV[4])
if ms > low_ms then
  local begin = redis.call('XRANGE', KEYS[2], int(ms), '+', 'COUNT', 1)[1]
  if not begin then return answer end
  local _, number = split(begin[1])
  if number >= high then return answer end
  if number > low then from = begin[1] end
end

local most, room, taken = tonumber(ARGV[6]), tonumber(ARGV[7]), 0
while true do
  local page
  if up then
    page = redis.call('XRANGE', source, from, to, 'COUNT', 16)
  else
    page = redis.call('XREVRANGE', source, to, from, 'COUNT', 16)
  end
  for i, found in ipairs(page) do
    local m = found
    if by_index == 1 then m = redis.call('XRANGE', KEYS[2], found[1], found[1])[1] end
    if m then -- else the index is behind the stream
      local epoch, entry = '', ''
      for f = 1, #m[2], 2 do
        if m[2][f] == 'epoch' then epoch = m[2][f + 1] elseif m[2][f] == 'entry' then entry = m[2][f + 1] end
      end
      answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = m[1], epoch, entry
      taken, room = taken + 1, room - #entry
    end
    local _, number = split(found[1])
    if taken == most or room <= 0 then
      answer[5], answer[6] = int(number), 1
      return answer
    end
    if up then from = '(' .. found[1] else to = '(' .. found[1] end
  end
  if #page < 16 then return answer end
end
