/**
 * What was said in a room: pages of its history, what the stream brought since the newest of them, and what is on its
 * way to the server. One list of the three, in which each message stands once.
 */

import { useInfiniteQuery, useMutation, useMutationState } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { readHistory, type Message } from './api';
import { useChannel, useRealtime } from './live';
import { keys } from './queries';

/** A message as the page shows it. */
export interface Line extends Omit<Message, 'id'> {
  /** None while it is on its way. */
  id: number | undefined;
}

/** What is on its way. */
interface Draft {
  content: string;
  key: string;
  createdAt: number;
}

const sayKey = (room: number) => ['say', room];

export function useHistory(room: number, me: string) {
  const realtime = useRealtime();
  const { data, error, isPending, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: keys.history(room),
    queryFn: ({ pageParam, signal }) => readHistory(realtime.fetch, room, pageParam, signal),
    initialPageParam: null as number | null,
    getNextPageParam: (page) => page.before,
    // What comes after it is heard.
    staleTime: Infinity,
  });
  const [heard, setHeard] = useState<Message[]>([]);
  const hear = (message: Message) => setHeard((before) => [...before, message]);

  useChannel(
    data ? `room:${room}` : null,
    {
      onMessage: ({ event, data }) => {
        if (event === 'new_message') hear(data);
      },
      onConnect: ({ resumed }) => {
        if (!resumed) void refetch();
      },
      onGap: () => void refetch(),
    },
    { since: data?.pages[0]?.cursor },
  );

  const drafts = useMutationState({
    filters: { mutationKey: sayKey(room), status: 'pending' },
    select: ({ state }) => state.variables as Draft,
  });
  const lines = useMemo(() => {
    const said = new Map<number, Message>();
    for (const page of data?.pages ?? []) for (const message of page.messages) said.set(message.id, message);
    for (const message of heard) said.set(message.id, message);
    const lines: Line[] = [...said.values()].sort((a, b) => a.id - b.id);
    // The stream may be faster than the answer.
    const known = new Set(lines.map(({ sender, key }) => sender === me && key));
    const onTheirWay = drafts.filter(({ key }) => !known.has(key));
    return [...lines, ...onTheirWay.map((draft) => ({ ...draft, room, sender: me, id: undefined }))];
  }, [data, heard, drafts, room, me]);

  /** The message is in the list at once, and out of it again if the server refuses it. */
  const say = useMutation({
    mutationKey: sayKey(room),
    mutationFn: ({ content, key }: Draft) => realtime.emit<Message>(`room:${room}`, 'said', { content, key }),
    onSuccess: hear,
  });

  return { lines, error, isPending, hasEarlier: hasNextPage, isFetchingNextPage, earlier: fetchNextPage, say };
}
