import { Fragment, useEffect, useRef, useState } from 'react';
import { ask, send, type RoomLine } from './api';
import { Composer } from './Composer';
import { Flag } from './Flag';
import { useHistory, type Line } from './history';
import { useRealtime, useTyping } from './live';
import { useChange, useNames, useReceipts } from './queries';
import { dayOf, list, timeOf } from './times';

/** Lines of one sender within this time stand together. */
const TOGETHER = 5 * 60_000;

interface TalkProps {
  room: RoomLine;
  me: string;
  isTab: boolean;
}

export function Talk({ room, me, isTab }: TalkProps) {
  const history = useHistory(room.id, me);
  const { lines } = history;
  const { typists, start, stop } = useTyping(`room:${room.id}:typing`);
  // Whoever leaves the room writes no more.
  useEffect(() => stop, [stop]);
  const scroller = useRef<HTMLDivElement>(null);
  const [isAtEnd, setAtEnd] = useState(true);
  // Where one had read up to when one came in.
  const [firstUnread, setFirstUnread] = useState<number>();
  const newest = lines.findLast(({ id, sender }) => id !== undefined && sender !== me)?.id;
  useReading(room, newest, isAtEnd);

  const [unreadThen] = useState(room.unread);
  if (firstUnread === undefined && unreadThen && lines.length) {
    const others = lines.filter(({ id, sender }) => id !== undefined && sender !== me);
    setFirstUnread(others.at(-unreadThen)?.id ?? 0);
  }

  const toEnd = () => scroller.current?.scrollTo({ top: 0 });
  const panel = isTab
    ? { role: 'tabpanel', id: 'side-talk', 'aria-labelledby': 'tab-talk' }
    : { 'aria-label': 'What is said' };
  return (
    <section className="talk" {...panel}>
      <div
        className="scroller"
        ref={scroller}
        tabIndex={0}
        role="group"
        aria-label="Messages"
        // From the end, upwards: so it stays there, and stays where it is when older ones come.
        onScroll={({ currentTarget }) => setAtEnd(currentTarget.scrollTop > -40)}
      >
        <div className="messages">
          {history.error && <p role="alert">{history.error.message}</p>}
          <Earlier
            scroller={scroller}
            more={history.hasEarlier}
            loading={history.isFetchingNextPage}
            load={() => void history.earlier()}
          />
          {!history.isPending && !lines.length && (
            <p className="empty quiet">Nothing was said here yet. The first word is yours.</p>
          )}
          <Lines lines={lines} me={me} room={room.id} firstUnread={firstUnread} />
        </div>
      </div>
      {!isAtEnd && (
        <button type="button" className="to-end" onClick={toEnd}>
          To the newest
        </button>
      )}
      <p className="typing" role="status" data-any={typists.length > 0}>
        {typists.length > 0 && (
          <>
            <span className="dots" aria-hidden="true">
              <i />
              <i />
              <i />
            </span>
            {list(typists.map(({ userName }) => userName))} {typists.length > 1 ? 'are' : 'is'} writing
          </>
        )}
      </p>
      <Composer
        room={room}
        error={history.say.error?.message}
        onTyping={start}
        onStop={stop}
        onSay={(draft, onError) => {
          stop();
          toEnd();
          history.say.mutate(draft, { onError });
        }}
      />
    </section>
  );
}

/** Tells the server how far one has read: while one sees the end of it. */
function useReading(room: RoomLine, newest: number | undefined, isAtEnd: boolean) {
  const { fetch } = useRealtime();
  const [isSeen, setSeen] = useState(() => !document.hidden);
  useEffect(() => {
    const look = () => setSeen(!document.hidden);
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  const upTo = isSeen && isAtEnd && room.unread ? newest : undefined;
  useEffect(() => {
    // What is not told now is with the next message.
    if (upTo) ask(fetch, `/rooms/${room.id}/read`, send('POST', { upTo })).catch(() => {});
  }, [fetch, room.id, upTo]);
}

interface EarlierProps {
  scroller: React.RefObject<HTMLDivElement | null>;
  more: boolean;
  loading: boolean;
  load: () => void;
}

/** Loads what was before when one comes near it; by keyboard it is a button. */
function Earlier({ scroller, more, loading, load }: EarlierProps) {
  const button = useRef<HTMLButtonElement>(null);
  const latest = useRef(load);
  useEffect(() => {
    latest.current = load;
  });
  useEffect(() => {
    if (!more || loading || !button.current) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && latest.current(), {
      root: scroller.current,
      rootMargin: '200px 0px 0px',
    });
    observer.observe(button.current);
    return () => observer.disconnect();
  }, [more, loading, scroller]);
  if (!more) return null;
  return (
    <button ref={button} type="button" className="earlier" disabled={loading} onClick={load}>
      {loading ? 'Loading …' : 'What was said before'}
    </button>
  );
}

interface LinesProps {
  lines: Line[];
  me: string;
  room: number;
  firstUnread: number | undefined;
}

function Lines({ lines, me, room, firstUnread }: LinesProps) {
  const name = useNames();
  const receipts = useReceipts(room).data ?? [];
  const readers = (id: number | undefined) => receipts.filter((one) => one.messageId === id).map((one) => name(one.userId));
  const lastOfMine = lines.findLast(({ id, sender }) => sender === me && id !== undefined)?.id;
  return (
    <ol className="lines">
      {lines.map((line, index) => {
        const before = lines[index - 1];
        const isNewDay = !before || dayOf(before.createdAt) !== dayOf(line.createdAt);
        const isFirst = isNewDay || before.sender !== line.sender || line.createdAt - before.createdAt > TOGETHER;
        const isUnread = line.id !== undefined && line.id === firstUnread;
        return (
          <Fragment key={line.key ? `${line.sender} ${line.key}` : line.id}>
            {isNewDay && <li className="day">{dayOf(line.createdAt)}</li>}
            {isUnread && <li className="unread-mark">New</li>}
            <li
              className="line"
              data-mine={line.sender === me}
              data-first={isFirst || isUnread}
              data-pending={line.id === undefined}
            >
              {(isFirst || isUnread) && (
                <p className="who">
                  <Flag of={line.sender} />
                  <strong>{name(line.sender)}</strong>
                  <time dateTime={new Date(line.createdAt).toISOString()}>{timeOf(line.createdAt)}</time>
                </p>
              )}
              <div className="bubble">
                <p>{marked(line.content)}</p>
                {line.sender !== me && line.id !== undefined && <Report id={line.id} />}
              </div>
              {line.id === undefined && <small className="state">sending …</small>}
              {line.id !== undefined && line.id === lastOfMine && <Read by={readers(line.id)} />}
            </li>
          </Fragment>
        );
      })}
    </ol>
  );
}

const Read = ({ by }: { by: string[] }) => (
  <small className="state" data-read={by.length > 0}>
    {by.length ? `Read by ${list(by)}` : 'Sent'}
  </small>
);

/** Names in the text stand out. */
const marked = (text: string) =>
  text.split(/(@[\p{L}\p{N}]+)/u).map((part, index) => (index % 2 ? <mark key={index}>{part}</mark> : part));

function Report({ id }: { id: number }) {
  const report = useChange((_: void) => ['POST', `/messages/${id}/report`]);
  return (
    <button
      type="button"
      className="report"
      disabled={report.isPending || report.isSuccess}
      onClick={() => report.mutate()}
    >
      {report.isSuccess ? 'Reported' : 'Report'}
    </button>
  );
}
