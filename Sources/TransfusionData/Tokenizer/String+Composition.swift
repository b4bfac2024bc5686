internal import Foundation

extension String {
    /// With canonical composition, NFC (Unicode Standard Annex 15).
    ///
    /// Foundation leaves a final consonant beside the Hangul syllable that it belongs to (chapter 3.12 of the Unicode Standard).
    var canonicallyComposed: String {
        let text = precomposedStringWithCanonicalMapping
        let finals: ClosedRange<UInt32> = 0x11A8...0x11C2, syllables: ClosedRange<UInt32> = 0xAC00...0xD7A3
        guard text.unicodeScalars.contains(where: { finals.contains($0.value) }) else { return text }
        var composed = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if finals.contains(scalar.value), let last = composed.last?.value, syllables.contains(last),
                (last - syllables.lowerBound) % 28 == 0,
                let syllable = Unicode.Scalar(last + scalar.value - finals.lowerBound + 1)
            {
                composed.removeLast()
                composed.append(syllable)
            } else {
                composed.append(scalar)
            }
        }
        return String(composed)
    }

    /// Whether canonical composition leaves valid UTF-8 as it is, told by its characters alone: true only when all of them are
    /// among the common ones that stay what they are, whatever stands beside them.
    static func isComposed(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var place = 0
        while place < text.count {
            // All before U+0300, which is 0xCC 0x80.
            guard text[place] >= 0xCC else {
                place += 1
                continue
            }
            let (scalar, length) = UTF8Scalar.decode(text, at: place)
            switch scalar {
            // Greek without accents, Cyrillic; punctuation, arrows, boxes, mathematics.
            case 0x3A3...0x482, 0x48A...0x52F, 0x2010...0x2027, 0x2190...0x2328, 0x232B...0x2ADB: break
            // Japanese, Chinese, Korean, wide letters, pictographs.
            case 0x3001...0x3029, 0x3041...0x3096, 0x30A0...0x30FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xAC00...0xD7A3,
                0xFF01...0xFF5E, 0x1F300...0x1FAFF:
                break
            default: return false
            }
            place += length
        }
        return true
    }
}
