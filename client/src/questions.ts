/** What the relay asks a tab, which alone can call the app's functions. */

import type { ToRelay, ToTab } from './protocol';

export type Question = Extract<ToTab, { t: 'ask' }>['what'];
type Reply = Pick<Extract<ToRelay, { t: 'reply' }>, 'n' | 'value' | 'error'>;

/** For an answer. */
const ASK_MS = 10_000;

/** Who is asked. */
export interface Asked {
  readonly post: (message: ToTab) => void;
  /** To be called when it leaves: a page that loads another does not answer any more. */
  gone?: () => void;
}

export const createQuestions = () => {
  let asked = 0;
  const answers = new Map<number, (reply: Partial<Reply>) => void>();
  return {
    /** Rejects with true where the app's function failed, and with nothing where nobody answered. */
    ask: (tab: Asked | undefined, what: Question) =>
      new Promise<any>((resolve, reject) => {
        const n = ++asked;
        const nobody = () => answers.get(n)?.({});
        const patience = setTimeout(nobody, ASK_MS);
        answers.set(n, ({ value, error }) => {
          answers.delete(n);
          clearTimeout(patience);
          if (error || value === undefined) reject(error);
          else resolve(value);
        });
        if (!tab) return nobody();
        tab.gone = nobody;
        tab.post({ t: 'ask', n, what });
      }),
    answer: (reply: Reply) => answers.get(reply.n)?.(reply),
  };
};
