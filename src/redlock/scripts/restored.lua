-- Returns whether a lock that is gone may be set again by a server that settles in so many ms. A candidate may still count on a vote
-- from before the server's start. There is none if this node's last vote was for who asks, and would last still (ms since 1970 by this
-- node's clock, or empty).
local function restores(settles, lasts_until)
  local time = redis.call('TIME')
  local now = 1000 * time[1] + math.floor(time[2] / 1000)
  return settles == 0 or lasts_until ~= '' and now < tonumber(lasts_until)
end
