/// How often each word of a corpus occurs.
struct WordCounts {
    private(set) var words = WordTable()
    /// By the numbers of the words.
    private(set) var occurrences: [Int] = []
    /// How many words were cut as they were too long, and how many texts were not read to their ends.
    private(set) var cutWords = 0
    private(set) var cutTexts = 0

    /// Adds the words of a text.
    mutating func add(text: String) {
        var text = text
        text.withUTF8 { utf8 in
            var end = utf8.count
            if end > TokenizerCorpus.longestText {
                end = TokenizerCorpus.longestText
                while end > 0, utf8[end] & 0xC0 == 0x80 { end -= 1 }
                cutTexts += 1
            }
            var scanner = TrainingWordScanner(UnsafeBufferPointer(rebasing: utf8[..<end]))
            scanner.forEach { add($0, times: 1) }
            cutWords += scanner.cutWords
        }
    }

    mutating func add(_ other: WordCounts) {
        for (number, times) in other.occurrences.enumerated() {
            other.words.withBytes(of: number) { add($0, times: times) }
        }
        cutWords += other.cutWords
        cutTexts += other.cutTexts
    }

    private mutating func add(_ word: UnsafeBufferPointer<UInt8>, times: Int) {
        let number = words.add(word)
        if number == occurrences.count { occurrences.append(0) }
        occurrences[number] += times
    }
}
