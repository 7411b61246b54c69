/**
 * What the page reads, and how it changes it.
 *
 * The keys are the server's: a `Revalidate::key("posts.list")` refetches the list, and nothing here asks for that. What
 * this very page changes it reads again by itself, in `onSettled`, also while the stream is down; so the request says
 * `skipOwn`, and the stream's news of it is not read a second time.
 */

import { useMutation, useQuery, useQueryClient, type QueryKey } from '@tanstack/react-query';
import { useRealtime } from 'tower-revalidate/react';
import { ask, type Post, type Summary, type User } from './api';

const keys = {
  list: ['posts', 'list'],
  detail: (id: number) => ['posts', 'detail', id],
  stars: ['stars'],
};

export function usePosts() {
  const { fetch } = useRealtime();
  return useQuery({ queryKey: keys.list, queryFn: ({ signal }) => ask<Summary[]>(fetch, '/posts', { signal }) });
}

export function usePost(id: number) {
  const { fetch } = useRealtime();
  return useQuery({
    queryKey: keys.detail(id),
    queryFn: ({ signal }) => ask<Post>(fetch, `/posts/${id}`, { signal }),
    retry: false,
  });
}

export function useStars() {
  const { fetch } = useRealtime();
  return useQuery({ queryKey: keys.stars, queryFn: ({ signal }) => ask<number[]>(fetch, '/stars', { signal }) });
}

/** The post is in the list at once, and out of it again if the server refuses it. */
export function useCreatePost(author: User) {
  const { fetch } = useRealtime();
  const queryClient = useQueryClient();
  return useMutation({
    mutationKey: ['create'],
    mutationFn: (title: string) => ask<Post>(fetch, '/posts', send('POST', { title })),
    onMutate: async (title) => {
      // A read that is under way would overwrite what we write here.
      await queryClient.cancelQueries({ queryKey: keys.list });
      const before = queryClient.getQueryData<Summary[]>(keys.list);
      const post: Summary = { id: `temp-${Date.now()}`, title, author, pending: true };
      queryClient.setQueryData<Summary[]>(keys.list, (posts = []) => [...posts, post]);
      return { before };
    },
    onError: (_error, _title, context) => {
      if (context) queryClient.setQueryData(keys.list, context.before);
    },
    // While another one is on its way the list would come back without it: the last one reads.
    onSettled: () => {
      const last = queryClient.isMutating({ mutationKey: ['create'] }) === 1;
      if (last) void queryClient.invalidateQueries({ queryKey: keys.list });
    },
  });
}

export const useEditPost = (id: number) =>
  useChange(
    (post: { title: string; body: string }) => [`/posts/${id}`, send('PUT', post)],
    [keys.list, keys.detail(id)],
  );

export const useDeletePost = (id: number) =>
  useChange((_: void) => [`/posts/${id}`, send('DELETE')], [keys.list, keys.stars]);

export const useStar = (id: number) =>
  useChange((on: boolean) => [`/stars/${id}`, send(on ? 'PUT' : 'DELETE')], [keys.stars]);

/** A change that shows once the server has made it. */
function useChange<T>(request: (change: T) => [string, RequestInit], changes: QueryKey[]) {
  const { fetch } = useRealtime();
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn: (change: T) => ask(fetch, ...request(change)),
    onSettled: () => Promise.all(changes.map((queryKey) => queryClient.invalidateQueries({ queryKey }))),
  });
}

function send(method: string, body?: object) {
  return { method, body: body && JSON.stringify(body), skipOwn: true };
}
