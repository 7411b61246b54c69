/**
 * What the page reads. The keys are the server's: what a handler says is stale is read again, and nothing here asks for
 * that. What is said in a room, and what stands in its document, is folded out of channels instead: see `history.ts`
 * and `document.ts`.
 */

import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { ask, send, type Person, type Receipt, type Report, type RoomLine, type User } from './api';
import { useRealtime } from './live';

export const keys = {
  rooms: ['rooms', 'list'],
  people: ['people'],
  history: (room: number) => ['messages', 'history', room],
  status: (room: number) => ['messages', 'status', room],
  document: (room: number) => ['documents', room],
  reports: ['reports', 'list'],
};

export function useRooms() {
  const { fetch } = useRealtime();
  return useQuery({ queryKey: keys.rooms, queryFn: ({ signal }) => ask<RoomLine[]>(fetch, '/rooms', { signal }) });
}

export function usePeople() {
  const { fetch } = useRealtime();
  return useQuery({
    queryKey: keys.people,
    queryFn: ({ signal }) => ask<User[]>(fetch, '/people', { signal }),
    staleTime: Infinity,
  });
}

/** Who of the crew is called what. */
export function useNames() {
  const people: Person[] = usePeople().data ?? [];
  return (id: string) => people.find((person) => person.id === id)?.name ?? id;
}

/** Who has read what one said oneself, by message. */
export function useReceipts(room: number) {
  const { fetch } = useRealtime();
  return useQuery({
    queryKey: keys.status(room),
    queryFn: ({ signal }) => ask<Receipt[]>(fetch, `/rooms/${room}/status`, { signal }),
  });
}

export function useReports(enabled: boolean) {
  const { fetch } = useRealtime();
  return useQuery({
    queryKey: keys.reports,
    queryFn: ({ signal }) => ask<Report[]>(fetch, '/reports', { signal }),
    enabled,
  });
}

/** A change that shows once the server has made it. */
export function useChange<T, R = void>(request: (change: T) => [method: string, path: string, body?: object]) {
  const { fetch } = useRealtime();
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn: (change: T) => {
      const [method, path, body] = request(change);
      return ask<R>(fetch, path, send(method, body));
    },
    // Also while the stream is down.
    onSettled: () => queryClient.invalidateQueries({ queryKey: keys.rooms }),
  });
}
