import { useState, type FormEvent } from 'react';
import type { Post } from './api';
import { useDeletePost, useEditPost, usePost } from './queries';

export function Detail({ id }: { id: number }) {
  const post = usePost(id);
  const remove = useDeletePost(id);
  const [editing, setEditing] = useState<boolean>();
  if (post.isPending) return <p className="detail quiet">Loading …</p>;
  if (post.isError) return <p className="detail">{post.error.message}</p>;
  if (editing) return <Edit post={post.data} onDone={() => setEditing(false)} />;
  return (
    <div className="detail">
      <p>{post.data.body || <span className="quiet">No text yet.</span>}</p>
      <p className="row">
        <button type="button" autoFocus={editing === false} onClick={() => setEditing(true)}>
          Edit
        </button>
        <button type="button" disabled={remove.isPending} onClick={() => remove.mutate()}>
          Delete
        </button>
      </p>
      <p role="alert">{remove.error?.message}</p>
    </div>
  );
}

/** What others save meanwhile does not change what is being written here. */
function Edit({ post, onDone }: { post: Post; onDone: () => void }) {
  const edit = useEditPost(post.id);

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    edit.mutate({ title: String(form.get('title')), body: String(form.get('body')) }, { onSuccess: onDone });
  }

  return (
    <form className="detail" onSubmit={submit}>
      <label>
        Title
        <input name="title" defaultValue={post.title} maxLength={200} required autoFocus />
      </label>
      <label>
        Text
        <textarea name="body" defaultValue={post.body} rows={3} maxLength={10_000} />
      </label>
      <p className="row">
        <button disabled={edit.isPending}>Save</button>
        <button type="button" onClick={onDone}>
          Cancel
        </button>
      </p>
      <p role="alert">{edit.error?.message}</p>
    </form>
  );
}
