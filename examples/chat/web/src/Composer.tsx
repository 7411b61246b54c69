import { useRef, useState, type FormEvent } from 'react';
import type { RoomLine } from './api';

const MOST = 1000;

interface Draft {
  content: string;
  key: string;
  createdAt: number;
}

interface ComposerProps {
  room: RoomLine;
  error: string | undefined;
  onTyping: () => void;
  onStop: () => void;
  onSay: (draft: Draft, onError: () => void) => void;
}

export function Composer({ room, error, onTyping, onStop, onSay }: ComposerProps) {
  const [text, setText] = useState('');
  const field = useRef<HTMLTextAreaElement>(null);
  // What was not sent. Sent again as it is, it is the same message: should the first attempt have arrived, after all,
  // it is not said twice.
  const failed = useRef<Draft>(undefined);
  const content = text.trim();
  const left = MOST - [...content].length;

  function submit(event?: FormEvent) {
    event?.preventDefault();
    if (!content || left < 0) return;
    const again = failed.current?.content === content ? failed.current.key : undefined;
    const draft = { content, key: again ?? newKey(), createdAt: Date.now() };
    setText('');
    onSay(draft, () => {
      failed.current = draft;
      // What was written meanwhile stays.
      setText((now) => now || draft.content);
      field.current?.focus();
    });
  }

  return (
    <form className="composer" onSubmit={submit}>
      <p role="alert">{error}</p>
      <div className="row">
        <textarea
          ref={field}
          rows={1}
          aria-label={`Message to ${room.name}`}
          aria-describedby="composer-hint"
          placeholder={`Message to ${room.name}`}
          value={text}
          onChange={({ target }) => {
            setText(target.value);
            if (target.value.trim()) onTyping();
            else onStop();
          }}
          onBlur={onStop}
          onKeyDown={(event) => {
            // Not while an input method is composing a word.
            if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
            event.preventDefault();
            submit();
          }}
        />
        <button disabled={!content || left < 0}>Send</button>
      </div>
      <p id="composer-hint" className="hint">
        <span>
          <code>@bob</code> tells Bob. The server refuses “mutiny”.
        </span>
        {left < 100 && (
          <span role="status" data-over={left < 0}>
            {left < 0 ? `${-left} too many` : `${left} left`}
          </span>
        )}
      </p>
    </form>
  );
}

const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('');
