#!lua flags=allow-oom
-- Claims a shard: no older owner writes any more, and the record is kept or begins empty.
-- KEYS: head, sessions, dead, speakers; then how the keys of what sessions said begin.
-- ARGV: epoch; the claim's id; the floor of a record to be rewritten, or ''.
-- Gives 'fenced' and the later epoch, 'empty' and the floor, or 'known', the floor, and how far
-- the record was written: in which epoch, and the number of the last group.
--
-- Epochs and numbers are text of 20 digits, which compares as they do. Lua's own numbers
-- would lose some of them.
local head, sessions, dead, speakers, said = unpack(KEYS)
local mine, claim, rewrite = unpack(ARGV)
local epoch, floor, whole, fresh, number =
  unpack(redis.call('HMGET', head, 'epoch', 'floor', 'whole', 'fresh', 'number'))

if epoch and epoch > mine then
  return {'fenced', epoch}
end

if rewrite == '' and whole then
  redis.call('HSET', head, 'epoch', mine, 'claim', claim, 'number', string.rep('0', 20))
  if fresh and epoch == mine then
    return {'empty', floor}
  end
  redis.call('HDEL', head, 'fresh')
  return {'known', floor, epoch, number}
end

for _, session in ipairs(redis.call('ZRANGE', speakers, 0, -1)) do
  redis.call('UNLINK', said .. session)
end
redis.call('UNLINK', head, sessions, dead, speakers)
redis.call('HSET', head, 'epoch', mine, 'claim', claim, 'number', string.rep('0', 20), 'fresh', 1)
if rewrite == '' then
  redis.call('HSET', head, 'floor', mine, 'whole', 1)
  return {'empty', mine}
end
redis.call('HSET', head, 'floor', rewrite)
return {'empty', rewrite}
