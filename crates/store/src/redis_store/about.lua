#!lua flags=allow-oom
-- Whose store this is; an empty one becomes the caller's.
-- KEYS: about. ARGV: cluster, shards, schema, an incarnation if it is to begin.
-- Gives what stands there, in that order.
--
-- What is the caller's is written each time: a WAIT asks for what was written over its own
-- connection, and so it asks for all that was written over others before this one.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'cluster', ARGV[1], 'shards', ARGV[2], 'schema', ARGV[3], 'incarnation', ARGV[4])
elseif redis.call('HGET', KEYS[1], 'cluster') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'cluster', ARGV[1])
end
return redis.call('HMGET', KEYS[1], 'cluster', 'shards', 'schema', 'incarnation')
