-- ARGV: a cursor, the pattern of the keys. Reads only.
-- Looks at two thousand keys, or fewer once it has found 16 kB of names. Returns the next cursor and the names.
local cursor, names, bytes = ARGV[1], {}, 0
for _ = 1, 100 do
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[2], 'COUNT', 20)
  cursor = page[1]
  for _, name in ipairs(page[2]) do
    table.insert(names, name)
    bytes = bytes + #name
  end
  if cursor == '0' or bytes > 16384 then
    break
  end
end
table.insert(names, 1, cursor)
return names
