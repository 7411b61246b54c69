/** A room's document: what stands there, what one has written oneself, and what becomes of it. */

import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ask, type Document, type Outcome } from './api';
import { useChannel, useRealtime } from './live';
import { keys } from './queries';

/** One's own text, and the version that it was made of. */
interface Draft {
  text: string;
  base: number;
}

export function useDocument(room: number) {
  const realtime = useRealtime();
  const queryClient = useQueryClient();
  const queryKey = keys.document(room);
  const { data: saved, error, refetch } = useQuery({
    queryKey,
    queryFn: async ({ signal }) => newer(await ask<Document>(realtime.fetch, `/rooms/${room}/document`, { signal })),
  });
  const [draft, setDraft] = useState<Draft>();
  const [conflict, setConflict] = useState<Document>();

  /** The database has numbered the versions; the newest is what stands there, in whichever order they are heard. */
  const newer = (document: Document) => {
    const before = queryClient.getQueryData<Document>(queryKey);
    return before && before.version >= document.version ? before : document;
  };
  const stands = (document: Document) => queryClient.setQueryData(queryKey, newer(document));

  useChannel(`doc:${room}`, {
    onMessage: ({ data }) => stands(data),
    onConnect: ({ resumed }) => {
      if (!resumed) void refetch();
    },
    onGap: () => void refetch(),
  });

  const save = useMutation({
    mutationFn: ({ text, base }: Draft) =>
      realtime.emit<Outcome>(`doc:${room}`, 'change', { text, baseVersion: base }),
    onSuccess: (outcome, sent) => {
      if (outcome.outcome === 'conflict') {
        stands(outcome.change);
        setConflict(outcome.change);
        return;
      }
      stands(outcome);
      setConflict(undefined);
      // What was written while it was saved is made of what was saved.
      setDraft((now) => (now && now.text !== sent.text ? { ...now, base: outcome.version } : undefined));
    },
  });

  return {
    saved,
    error: error ?? save.error,
    draft,
    conflict,
    isSaving: save.isPending,
    write(text: string) {
      if (!saved) return;
      setDraft((before) => {
        const base = before?.base ?? saved.version;
        return text === saved.text && base === saved.version ? undefined : { text, base };
      });
    },
    save: () => draft && save.mutate(draft),
    /** In a conflict: one's own text, made of what stands there now. */
    keepMine: () => {
      if (!draft || !conflict) return;
      const mine = { text: draft.text, base: conflict.version };
      setDraft(mine);
      save.mutate(mine);
    },
    takeTheirs: () => {
      setDraft(undefined);
      setConflict(undefined);
    },
  };
}
