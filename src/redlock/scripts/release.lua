-- KEYS: lock, fence, runs, last success and, of one slot of several, the name of the resource and the locks of all slots.
-- ARGV: value, token, token + 1, the lock's channel (empty: its listeners don't matter), how many listeners not to count, the
-- message's first word (empty: nobody is notified), what follows the number of listeners, the run's token, its record but for its
-- start and the last brace (empty: there was no run), its start (ms since 1970 by this node's clock, or empty), how long ago that
-- was (ms), whether it succeeded (1 or 0) and, to keep the lock, its new value, for how long (ms), the startup grace, the id of a server process
-- and until when this node's last vote for the leader lasts (see extend.lua).
-- A reply that confirms the release has how many stand by and how many were woken (empty: not known; see below) and, if the lock
-- is kept, in how long (ms) the server will have been up for the startup grace (or 0).
local fence = redis.call('GET', KEYS[2]) or '0'
local value = redis.call('GET', KEYS[1])
-- A record is true whoever holds the lock now. The votes of a campaign that was lost leave none.
redis.pcall('ZREMRANGEBYSCORE', KEYS[3], ARGV[8], ARGV[8])
if ARGV[9] ~= '' then
  local start = ARGV[10]
  if start == '' then
    local time = redis.call('TIME')
    start = 1000 * time[1] + math.floor(time[2] / 1000) - ARGV[11]
  end
  local run = ARGV[9] .. ',"start":' .. start .. '}'
  redis.pcall('ZADD', KEYS[3], ARGV[8], run)
  redis.pcall('ZREMRANGEBYRANK', KEYS[3], 0, -101)
  redis.pcall('EXPIRE', KEYS[3], 2592000)
  local last = redis.pcall('GET', KEYS[4])
  local last_token = type(last) == 'string' and string.match(last, '"token":(%d+)') or '0'
  if ARGV[12] == '1' and tonumber(last_token) <= tonumber(ARGV[8]) then
    redis.pcall('SET', KEYS[4], run, 'EX', 2592000)
  end
end
-- To keep a lock that the node has lost, it is restored, as by an extension.
local settles = ARGV[13] and settles_in(redis.call('INFO', 'server'), ARGV[15], ARGV[16]) or 0
-- A request is sent once more when its connection breaks.
if ARGV[13] and value == ARGV[13] then
  return {'released', fence, '', '', settles}
end
local is_ours = value == ARGV[1] or not value and ARGV[13] and restores(settles, ARGV[17])
if not is_ours or tonumber(fence) > tonumber(ARGV[2]) then
  return {'kept', fence}
end
if ARGV[13] then
  redis.call('SET', KEYS[1], ARGV[13], 'PX', ARGV[14])
else
  redis.call('DEL', KEYS[1])
end
-- See acquire.lua. It goes with the last lock of a slot, and lasts for as long as one that is kept.
local name = KEYS[5] and redis.call('GET', KEYS[5])
if name and string.find(name, string.match(ARGV[1], '"slots":%d+,'), 1, true) then
  local led, left = nil, redis.call('PTTL', KEYS[5])
  for slot = 6, #KEYS do
    led = redis.call('GET', KEYS[slot]) or led
    left = math.max(left, redis.call('PTTL', KEYS[slot]))
  end
  if not led then
    redis.call('DEL', KEYS[5])
  elseif ARGV[13] and redis.call('PTTL', KEYS[5]) < tonumber(ARGV[14]) then
    redis.call('SET', KEYS[5], ARGV[13], 'PX', ARGV[14])
  elseif name == ARGV[1] then
    -- What proves our release must not open the resource while another slot of it is led.
    redis.call('SET', KEYS[5], led, 'PX', left)
  end
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', 2592000)
-- Wakes those who stand by on one of the wake-up channels. Returns how many; empty: nobody can be woken. The search
-- begins anywhere: the token counts microseconds.
local function wake_some()
  local first = ARGV[3] % 1024
  for from = first, first + 960, 64 do
    local channels = {}
    for number = from, from + 63 do
      table.insert(channels, ARGV[4] .. ':' .. number % 1024 .. ':wake')
    end
    local listeners = redis.pcall('PUBSUB', 'NUMSUB', unpack(channels))
    for at = 2, 128, 2 do
      if (listeners[at] or 0) > 0 then
        local told = redis.pcall('PUBLISH', listeners[at - 1], 'wake ' .. listeners[at] .. ' ' .. ARGV[7])
        return type(told) == 'number' and told or ''
      end
    end
  end
  return ''
end
-- How many stand by: those who only watch listen to both channels. Empty: that isn't known. How many of them are woken, if
-- others are not.
local standbys, woken = '', ''
if ARGV[4] ~= '' then
  -- pcall: where the user may not count or publish, nobody listens.
  local listeners = redis.pcall('PUBSUB', 'NUMSUB', ARGV[4], ARGV[4] .. ':watchers')
  local others = (listeners[2] or 0) - ARGV[5]
  standbys = listeners[4] and others - listeners[4] or ''
  local message = ARGV[6] .. ' ' .. others .. ' ' .. ARGV[7]
  -- A few may as well take turns.
  if ARGV[6] == 'released' and ARGV[5] == '0' and standbys ~= '' and standbys > 3 then
    woken = wake_some()
  end
  if woken ~= '' then
    redis.pcall('PUBLISH', ARGV[4] .. ':watchers', message)
  elseif ARGV[6] ~= '' then
    redis.pcall('PUBLISH', ARGV[4], message)
  end
end
return {'released', ARGV[3], standbys, woken, settles}
