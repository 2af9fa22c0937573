//! The media in the mock model's answers, made here: a tone that plays and a picture that shows.

use std::f32::consts::TAU;

/// Samples a second. One byte each would do for a tone, but every player takes two.
const RATE: u32 = 8_000;
const SECONDS: f32 = 0.5;

/// Pixels of each side.
const SIDE: u32 = 64;

/// A small object that is whole in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub content_type: &'static str,
    pub extension: &'static str,
    pub bytes: Vec<u8>,
}

impl Sample {
    /// Half a second of A, as WAV, fading in and out so that it does not click.
    pub fn tone() -> Self {
        let count = (SECONDS * RATE as f32) as u32;
        let sample = |number: u32| {
            let (at, whole) = (number as f32, count as f32);
            let fade = (at.min(whole - at) / (whole / 10.0)).min(1.0);
            ((at * 440.0 * TAU / RATE as f32).sin() * fade * 0.3 * f32::from(i16::MAX)) as i16
        };
        let data: Vec<u8> = (0..count).flat_map(|number| sample(number).to_le_bytes()).collect();
        let size = data.len() as u32;
        let mut bytes = Vec::with_capacity(44 + data.len());
        bytes.extend(b"RIFF");
        bytes.extend((36 + size).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(16u32.to_le_bytes());
        bytes.extend(1u16.to_le_bytes()); // PCM
        bytes.extend(1u16.to_le_bytes()); // one channel
        bytes.extend(RATE.to_le_bytes());
        bytes.extend((RATE * 2).to_le_bytes());
        bytes.extend(2u16.to_le_bytes());
        bytes.extend(16u16.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(size.to_le_bytes());
        bytes.extend(data);
        Self { content_type: "audio/wav", extension: "wav", bytes }
    }

    /// A square of colours, as PNG.
    pub fn picture() -> Self {
        let shade = |at: u32| (at * 255 / (SIDE - 1)) as u8;
        let pixels: Vec<u8> = (0..SIDE)
            .flat_map(|y| (0..SIDE).flat_map(move |x| [shade(x), shade(y), 255 - shade((x + y) / 2)]))
            .collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, SIDE, SIDE);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
        written.expect("a picture of known size is written to memory");
        Self { content_type: "image/png", extension: "png", bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::kinds::MediaType;

    #[test]
    fn samples_are_what_they_say() {
        for sample in [Sample::tone(), Sample::picture()] {
            let known = MediaType::parse(sample.content_type).expect("a type that is taken");
            assert!(known.agrees_with(&sample.bytes) && known.extension == sample.extension, "{}", sample.content_type);
        }
        let tone = Sample::tone().bytes;
        assert_eq!(u32::from_le_bytes(tone[4..8].try_into().expect("four bytes")) as usize, tone.len() - 8);
        let picture = Sample::picture().bytes;
        let mut reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info().expect("a PNG");
        let mut pixels = vec![0; (SIDE * SIDE * 3) as usize];
        reader.next_frame(&mut pixels).expect("whole");
        assert_eq!((&pixels[..3], reader.info().width), (&[0, 0, 255][..], SIDE));
    }
}
