-- KEYS: lock. ARGV: how many listeners not to count, the message's first word, what follows the number of listeners.
-- The channel has the lock's name.
local listeners = redis.call('PUBSUB', 'NUMSUB', KEYS[1])
return redis.call('PUBLISH', KEYS[1], ARGV[2] .. ' ' .. listeners[2] - ARGV[1] .. ' ' .. ARGV[3])
