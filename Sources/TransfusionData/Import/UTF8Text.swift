/// Whether bytes are text.
enum UTF8Text {
    static func isValid(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        (try? UTF8Span(validating: bytes.span)) != nil
    }

    /// The number of the first line that is not UTF-8, from 0; nil when all are.
    static func firstBadLine(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        if isValid(bytes) { return nil }
        let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
        return lines.firstIndex { !isValid(UnsafeBufferPointer(rebasing: $0)) } ?? 0
    }
}
