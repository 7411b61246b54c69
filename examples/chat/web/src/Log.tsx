import { useEffect, useRef, useState, type FormEvent } from 'react';
import type { RoomLine } from './api';
import { useDocument } from './document';
import { useChannel, useRealtime, type Caret } from './live';
import { useNames } from './queries';
import { timeOf } from './times';

/** How often, in ms, one tells the others where one is. */
const OFTEN = 150;

interface LogProps {
  room: RoomLine;
  me: string;
  present: Set<string>;
}

/** The room's shared document. */
export function Log({ room, me, present }: LogProps) {
  const { saved, error, draft, conflict, isSaving, write, save, keepMine, takeTheirs } = useDocument(room.id);
  const name = useNames();
  const carets = useCarets(room.id, me, present);
  const moved = useMoving(room.id);
  const text = draft?.text ?? saved?.text ?? '';
  const isBehind = draft !== undefined && saved !== undefined && draft.base < saved.version;

  function submit(event: FormEvent) {
    event.preventDefault();
    save();
  }

  return (
    <form className="log" onSubmit={submit}>
      <header>
        <h2>Log</h2>
        <p className="quiet">
          {saved?.updatedBy && saved.updatedAt
            ? `Version ${saved.version}, by ${name(saved.updatedBy)} at ${timeOf(saved.updatedAt)}`
            : 'Nobody wrote in it yet'}
        </p>
      </header>
      {conflict && draft ? (
        <Conflict by={name(conflict.updatedBy ?? '')} theirs={conflict.text} mine={draft.text} keepMine={keepMine} takeTheirs={takeTheirs} isSaving={isSaving} />
      ) : (
        <>
          <div className="sheet">
            <Carets text={text} carets={carets} />
            <textarea
              aria-label={`Log of ${room.name}`}
              value={text}
              disabled={!saved}
              spellCheck={false}
              onChange={({ target }) => {
                write(target.value);
                moved(target.selectionEnd);
              }}
              onSelect={({ currentTarget }) => moved(currentTarget.selectionEnd)}
              onKeyDown={(event) => {
                if (event.key !== 's' || !(event.ctrlKey || event.metaKey)) return;
                event.preventDefault();
                save();
              }}
            />
          </div>
          <div className="row">
            <button disabled={!draft || isSaving}>Save</button>
            {draft && (
              <button type="button" onClick={takeTheirs}>
                Discard
              </button>
            )}
            <p className="quiet" role="status">
              {isBehind
                ? `${name(saved.updatedBy ?? '')} saved version ${saved.version} meanwhile.`
                : draft
                  ? 'Not saved'
                  : ''}
            </p>
          </div>
        </>
      )}
      <p role="alert">{error?.message}</p>
    </form>
  );
}

interface ConflictProps {
  by: string;
  theirs: string;
  mine: string;
  isSaving: boolean;
  keepMine: () => void;
  takeTheirs: () => void;
}

/** Two made something else of the same version; only who wrote can say which it is to be. */
function Conflict({ by, theirs, mine, isSaving, keepMine, takeTheirs }: ConflictProps) {
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus(), []);
  return (
    <div className="conflict">
      <h3 ref={title} tabIndex={-1}>
        {by} was faster
      </h3>
      <p>Both of you changed the same version. Nothing is lost: which one is to stand?</p>
      <section>
        <h4>What {by} saved</h4>
        <pre tabIndex={0}>{theirs}</pre>
        <button type="button" onClick={takeTheirs}>
          Take this one
        </button>
      </section>
      <section>
        <h4>What you wrote</h4>
        <pre tabIndex={0}>{mine}</pre>
        <button type="button" disabled={isSaving} onClick={keepMine}>
          Keep mine
        </button>
      </section>
    </div>
  );
}

/** Where the others are, of those who are still here. */
function useCarets(room: number, me: string, present: Set<string>): Caret[] {
  const [carets, setCarets] = useState<Record<string, Caret>>({});
  useChannel(`doc:${room}:cursors`, ({ data }) => setCarets((before) => ({ ...before, [data.userId]: data })));
  return Object.values(carets).filter(({ userId }) => userId !== me && present.has(userId));
}

/** Tells the others where one is: now and then, and where one is at last. */
function useMoving(room: number) {
  const realtime = useRealtime();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const position = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (to: number) => {
    position.current = to;
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      const move = { position: position.current };
      // One that is lost is followed by another.
      realtime.emit(`doc:${room}:cursors`, 'cursor_move', move).catch(() => {});
    }, OFTEN);
  };
}

/** Under the field, in the same lines: the text itself is not seen, the carets are. */
function Carets({ text, carets }: { text: string; carets: Caret[] }) {
  const sorted = carets.map((caret) => ({ ...caret, at: Math.min(caret.position, text.length) })).sort((a, b) => a.at - b.at);
  return (
    <div className="carets" aria-hidden="true">
      {sorted.map(({ userId, userName, at }, index) => (
        <span key={userId}>
          {text.slice(sorted[index - 1]?.at ?? 0, at)}
          <i className="caret" data-user={userId}>
            <b>{userName}</b>
          </i>
        </span>
      ))}
      {text.slice(sorted.at(-1)?.at ?? 0)}
      {'\n'}
    </div>
  );
}
