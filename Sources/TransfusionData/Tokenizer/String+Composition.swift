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
}
