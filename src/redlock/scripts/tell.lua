-- KEYS: nothing or, to notify nobody once it is taken, the lock.
-- ARGV: the lock's channel, how many listeners not to count, the message's first word, what follows the number of listeners.
if KEYS[1] and redis.call('GET', KEYS[1]) then
  return 0
end
local listeners = redis.call('PUBSUB', 'NUMSUB', ARGV[1])
return redis.call('PUBLISH', ARGV[1], ARGV[3] .. ' ' .. listeners[2] - ARGV[2] .. ' ' .. ARGV[4])
