-- ARGV: the lock's channel, how many listeners not to count, the message's first word, what follows the number of listeners.
local listeners = redis.call('PUBSUB', 'NUMSUB', ARGV[1])
return redis.call('PUBLISH', ARGV[1], ARGV[3] .. ' ' .. listeners[2] - ARGV[2] .. ' ' .. ARGV[4])
