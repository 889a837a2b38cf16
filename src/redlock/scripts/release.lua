-- KEYS: lock, fence and, of one slot of several, the name of the resource and the locks of all slots.
-- ARGV: value, token, token + 1, the channel to notify (empty: nobody), how many listeners not to count, the message's first
-- word, what follows the number of listeners and, to keep the lock, its new value and for how long (ms).
local fence = redis.call('GET', KEYS[2]) or '0'
local value = redis.call('GET', KEYS[1])
-- To keep a lock that the node has lost, it is restored, as by an extension.
local is_ours = value == ARGV[1] or not value and ARGV[8]
if not is_ours or tonumber(fence) > tonumber(ARGV[2]) then
  return {'kept', fence}
end
if ARGV[8] then
  redis.call('SET', KEYS[1], ARGV[8], 'PX', ARGV[9])
else
  redis.call('DEL', KEYS[1])
end
-- See acquire.lua. It goes with the last lock of a slot, and lasts for as long as one that is kept.
local name = KEYS[3] and redis.call('GET', KEYS[3])
if name and string.find(name, string.match(ARGV[1], '"slots":%d+,'), 1, true) then
  local is_led = false
  for slot = 4, #KEYS do
    is_led = is_led or redis.call('GET', KEYS[slot])
  end
  if not is_led then
    redis.call('DEL', KEYS[3])
  elseif ARGV[8] and redis.call('PTTL', KEYS[3]) < tonumber(ARGV[9]) then
    redis.call('SET', KEYS[3], ARGV[8], 'PX', ARGV[9])
  end
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', 2592000)
if ARGV[4] ~= '' then
  -- pcall: where the user may not count or publish, nobody listens.
  local listeners = redis.pcall('PUBSUB', 'NUMSUB', ARGV[4])
  redis.pcall('PUBLISH', ARGV[4], ARGV[6] .. ' ' .. (listeners[2] or 0) - ARGV[5] .. ' ' .. ARGV[7])
end
return {'released', ARGV[3]}
