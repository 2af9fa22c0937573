/** Uploads files straight to the storage, by a presigned form, and shows the progress. */
import { shallowReactive } from 'vue';
import type { Api } from '../api';
import type { Media } from '../contract';
import { newId } from '../ids';

/** The types that the server accepts, and the names that browsers use for them. */
const TYPES: Record<string, string> = {
  'audio/mp3': 'audio/mpeg',
  'audio/x-m4a': 'audio/mp4',
  'audio/m4a': 'audio/mp4',
  'audio/wave': 'audio/wav',
  'audio/x-flac': 'audio/flac',
  'audio/x-aac': 'audio/aac',
  'image/jpg': 'image/jpeg',
  'video/x-m4v': 'video/mp4',
};
const TAKEN = new Set([
  'image/png',
  'image/jpeg',
  'image/gif',
  'image/webp',
  'image/avif',
  'audio/mpeg',
  'audio/wav',
  'audio/x-wav',
  'audio/ogg',
  'audio/mp4',
  'audio/aac',
  'audio/flac',
  'audio/webm',
  'video/mp4',
  'video/webm',
  'video/quicktime',
]);

export interface Attachment {
  id: string;
  name: string;
  contentType: string;
  bytes: number;
  /** The address of the file in this browser, to show it before it is uploaded. */
  previewUrl: string;
  state: 'uploading' | 'done' | 'failed';
  /** From 0 to 1. */
  progress: number;
}

export type Refusal = 'type' | 'large' | 'empty';

export interface Uploads {
  /** Begins the upload at once. */
  add(file: File): Attachment | Refusal;
  again(attachment: Attachment): void;
  /** Stops the upload and forgets the file. */
  drop(attachment: Attachment): void;
  /** Resolves to the key when the upload is done, and to undefined if it failed or was dropped. */
  finished(attachment: Attachment): Promise<string | undefined>;
  /** The media of an upload of this page, until the server shows it. */
  preview(key: string): Media | undefined;
  /** The server shows it now, so the file itself is not needed any more. */
  release(key: string): void;
}

/** An image that is just being drawn may still read the file. */
const RELEASE_MS = 60_000;

interface Running {
  file: File;
  request?: XMLHttpRequest;
  finished: Promise<string | undefined>;
}

export function mediaType(type: string): string | undefined {
  const plain = (type.split(';')[0] ?? '').trim().toLowerCase();
  const known = TYPES[plain] ?? plain;
  return TAKEN.has(known) ? known : undefined;
}

export const accepted = [...TAKEN].join(',');

export function createUploads(api: Api, maxBytes: number): Uploads {
  const running = new Map<string, Running>();
  const previews = new Map<string, Media>();

  async function upload(attachment: Attachment, entry: Running): Promise<string | undefined> {
    attachment.state = 'uploading';
    attachment.progress = 0;
    try {
      const target = await api.upload(attachment.contentType, attachment.bytes);
      if (!running.has(attachment.id)) return undefined;
      const form = new FormData();
      for (const [name, value] of Object.entries(target.fields)) form.append(name, value);
      form.append('file', entry.file);
      await post(target.url, form, entry, (progress) => (attachment.progress = progress));
      const { contentType, bytes, previewUrl: url } = attachment;
      previews.set(target.key, { key: target.key, url, contentType, bytes });
      attachment.state = 'done';
      attachment.progress = 1;
      return target.key;
    } catch {
      attachment.state = 'failed';
      return undefined;
    }
  }

  function begin(attachment: Attachment, file: File): void {
    const entry: Running = { file, finished: Promise.resolve(undefined) };
    running.set(attachment.id, entry);
    entry.finished = upload(attachment, entry);
  }

  return {
    add(file) {
      const contentType = mediaType(file.type);
      if (!contentType) return 'type';
      if (file.size > maxBytes) return 'large';
      if (file.size === 0) return 'empty';
      const attachment = shallowReactive<Attachment>({
        id: newId(),
        name: file.name,
        contentType,
        bytes: file.size,
        previewUrl: URL.createObjectURL(file),
        state: 'uploading',
        progress: 0,
      });
      begin(attachment, file);
      return attachment;
    },
    again(attachment) {
      const entry = running.get(attachment.id);
      if (entry) begin(attachment, entry.file);
    },
    drop(attachment) {
      running.get(attachment.id)?.request?.abort();
      running.delete(attachment.id);
      URL.revokeObjectURL(attachment.previewUrl);
    },
    finished: (attachment) => running.get(attachment.id)?.finished ?? Promise.resolve(undefined),
    preview: (key) => previews.get(key),
    release(key) {
      const preview = previews.get(key);
      previews.delete(key);
      if (preview) setTimeout(() => URL.revokeObjectURL(preview.url), RELEASE_MS);
    },
  };
}

/** `fetch` does not report the progress of an upload, so this is an XMLHttpRequest. */
function post(url: string, form: FormData, entry: Running, progress: (share: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    entry.request = request;
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(new Error(`The storage answered ${request.status}`));
    };
    request.onerror = () => reject(new Error('The storage cannot be reached'));
    request.onabort = () => reject(new Error('Stopped'));
    request.open('POST', url);
    request.send(form);
  });
}
