/**
 * What a reader's user may do in Redis, as an access list (valkey.io/topics/acl): look at hot values and marks, keep events that it has read, hear of keys
 * that came into being. Not `%R~`: EVALSHA counts as writing to the keys that it names, so what keeps values safe is that no command but SET writes.
 */
export const READER_ACCESS =
  "on ~user:* ~session:* ~metric:* ~cache:event:* ~weir:mark:* &weir:created:* -@all +@read +@connection -@dangerous -@blocking +evalsha +script|load +set +subscribe +info";
