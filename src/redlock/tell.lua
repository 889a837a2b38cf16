-- KEYS: lock. ARGV: value, those who listen and don't count. The channel has the lock's name.
local listeners = redis.call('PUBSUB', 'NUMSUB', KEYS[1])
return redis.call('PUBLISH', KEYS[1], 'released ' .. listeners[2] - ARGV[2] .. ' ' .. ARGV[1])
