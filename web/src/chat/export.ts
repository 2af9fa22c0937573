/** Exports a conversation: all of it as JSON, or the branch that is shown as Markdown. */
import type { Conversation, Message } from '../contract';
import { copyText } from '../clipboard';
import { momentOf, t } from '../i18n';
import type { Chat } from './chat';
import { pathOf, treeOf } from './turns';

async function allOf(chat: Chat, conversation: Conversation): Promise<Message[]> {
  const items: Message[] = [];
  let cursor: string | undefined;
  do {
    const page = await chat.api.messages(conversation.id, { order: 'asc', limit: 100, ...(cursor ? { cursor } : {}) });
    items.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor);
  return items;
}

async function markdownOf(chat: Chat, conversation: Conversation): Promise<string> {
  const items = await allOf(chat, conversation);
  const head = chat.threads.find(conversation.id)?.head.value;
  const path = pathOf(treeOf(items, true, []), head);
  const said = path.flatMap(({ message, answers }) => [message, ...answers]).map((message) => {
    const who = message.role === 'user' ? t.value.exporting.you : t.value.exporting.model;
    const media = message.media ? `_${message.media.contentType}, ${message.media.key}_` : undefined;
    return [`**${who}** · ${momentOf(message.createdAt)}`, media, message.text].filter((part) => part).join('\n\n');
  });
  return [`# ${conversation.title}`, ...said].join('\n\n') + '\n';
}

export async function exportMarkdown(chat: Chat, conversation: Conversation): Promise<void> {
  download(`${fileName(conversation.title)}.md`, 'text/markdown', await markdownOf(chat, conversation));
}

export async function exportJson(chat: Chat, conversation: Conversation): Promise<void> {
  const messages = await allOf(chat, conversation);
  download(`${fileName(conversation.title)}.json`, 'application/json', JSON.stringify({ conversation, messages }, null, 2));
}

export async function copyMarkdown(chat: Chat, conversation: Conversation): Promise<void> {
  const isCopied = await copyText(await markdownOf(chat, conversation));
  chat.toast(isCopied ? t.value.copied : t.value.copyFailed);
}

/** A title without characters that file systems refuse. */
function fileName(title: string): string {
  const name = title.replaceAll(/[\p{Cc}\p{Cf}/\\:*?"<>|.]+/gu, ' ').replaceAll(/\s+/g, ' ').trim();
  return name.slice(0, 80) || 'conversation';
}

function download(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
