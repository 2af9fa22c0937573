/** Records a voice message with the browser's own recorder, in a type that the server accepts. */
import { mediaType } from './chat/uploads';

export interface Recording {
  /** Stops and gives the file. */
  finish(): Promise<File>;
  discard(): void;
}

const TYPES = ['audio/webm;codecs=opus', 'audio/ogg;codecs=opus', 'audio/mp4', 'audio/webm'];

export const canRecord = (): boolean => typeof MediaRecorder !== 'undefined' && 'mediaDevices' in navigator;

/** Asks for the microphone. Throws if the user refuses it or there is none. */
export async function record(name: string): Promise<Recording> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const type = TYPES.find((candidate) => MediaRecorder.isTypeSupported(candidate) && mediaType(candidate));
  const recorder = new MediaRecorder(stream, type === undefined ? {} : { mimeType: type });
  const chunks: Blob[] = [];
  recorder.ondataavailable = ({ data }) => chunks.push(data);
  recorder.start(1000);

  function stop(): Promise<void> {
    return new Promise((resolve) => {
      recorder.onstop = () => {
        for (const track of stream.getTracks()) track.stop();
        resolve();
      };
      recorder.stop();
    });
  }

  return {
    async finish() {
      await stop();
      return new File(chunks, name, { type: (recorder.mimeType || 'audio/webm').split(';')[0] ?? 'audio/webm' });
    },
    discard: () => void stop(),
  };
}
