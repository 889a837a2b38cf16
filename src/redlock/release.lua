-- KEYS: lock, fence. ARGV: value, token, token + 1. The channel has the lock's name.
local fence = redis.call('GET', KEYS[2]) or '0'
if redis.call('GET', KEYS[1]) ~= ARGV[1] or tonumber(fence) > tonumber(ARGV[2]) then
  return {'kept', fence}
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[3], 'EX', 2592000)
-- Nobody listens where the user may not publish or count; the lock is free all the same.
local listeners = redis.pcall('PUBSUB', 'NUMSUB', KEYS[1])
redis.pcall('PUBLISH', KEYS[1], 'released ' .. (listeners[2] or 0))
return {'released', ARGV[3]}
