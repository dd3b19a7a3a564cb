// What a page may do with the hub of internal/sample, and what its compiler must
// refuse: the lines behind @ts-expect-error. It is compiled by the tests.
import { HubConnectionBuilder, Subject } from "@microsoft/signalr";

import { Board, type Place, type Task } from "./hub";

const board = new Board(new HubConnectionBuilder().withUrl("/hub").build());

export async function right(task: Task): Promise<void> {
  const stored: Task = await board.add(task);
  const none: void = await board.remove(stored.id);
  const marks = new Subject<boolean>();
  const count: number = await board.import(new Subject<Task>(), "new", marks);
  board.levels().subscribe({ next: (level: number) => level + count, error: () => none, complete: () => none });
  board.watch(["a"]).subscribe({ next: (t: Task) => t.sub, error: () => none, complete: () => none });
  const stop: () => void = board.onChanged((t, at) => console.log(t.title, at.length));
  board.onConfirm(async (question, more) => question.length > more.length);
  board.onWhere((): Place => ({ name: "here" }));
  await board.renamed(1);
  stop();
}

export async function wrong(task: Task): Promise<void> {
  // @ts-expect-error a title is a string
  await board.add({ ...task, title: 1 });
  // @ts-expect-error an argument is missing
  await board.remove();
  // @ts-expect-error the result is a task
  const text: string = await board.add(task);
  // @ts-expect-error it is hidden
  await board.secret();
  // @ts-expect-error clients know it by another name
  await board.old(1);
  // @ts-expect-error a stream is not awaited
  const levels: number = await board.levels();
  // @ts-expect-error the server sends a task first
  board.onChanged((at: string) => at + text + levels);
  // @ts-expect-error the server waits for an answer
  board.onConfirm((question) => console.log(question));
  // @ts-expect-error an upload is a stream
  await board.import([task], "new", new Subject<boolean>());
}
