internal import TransfusionCore

/// The texts that a tokenizer learns from: all of them, or as many random ones as fit in some number of bytes.
///
/// Files are mapped and looked through for the ends of lines; only the lines that are chosen are read. The same texts give
/// the same choice each time.
public struct TokenizerCorpus {
    private enum Place {
        case memory(String)
        case line(TextLines.Line, file: Int)

        /// Lines in the order of their files, so that what is read together lies together.
        var order: (file: Int, start: Int) {
            switch self {
            case .memory: (-1, 0)
            case .line(let line, let file): (file, line.range.lowerBound)
            }
        }
    }

    /// Of one text no more bytes than these are read, so that a long one leaves room for others.
    static let longestText = 1 << 20
    /// What a text costs beside its bytes, so that many short ones stay bounded too.
    private static let overhead = 64
    /// After so many bytes of a file the pages that were looked at are given back.
    private static let mostPages = 32 << 20

    /// How many texts there are, those without a letter not counted.
    public private(set) var textCount = 0
    /// Whether some of the texts are not read.
    var isSample: Bool { choice.count < partCount }
    let byteLimit: Int
    /// How many texts, or parts of long ones, were offered to the choice.
    private var partCount = 0
    private var choice: BoundedChoice<Place>
    private var files: [MappedFile] = []
    private var sourceCount = 0

    /// - Parameter byteLimit: How many bytes of text are read.
    public init(byteLimit: Int = 64 << 20) {
        self.byteLimit = byteLimit
        choice = BoundedChoice(limit: byteLimit)
    }

    public init(_ texts: [String]) {
        self.init()
        add(texts)
    }

    public mutating func add(_ texts: [String]) {
        for (number, text) in texts.enumerated() where text.utf8.contains(where: { $0 > 32 }) {
            textCount += 1
            offer(.memory(text), bytes: text.utf8.count, number: number)
        }
        sourceCount += 1
    }

    /// Adds the texts that lie at some places of a file.
    mutating func add(_ file: MappedFile, parts: some Sequence<Range<Int>>) {
        files.append(file)
        for (number, part) in parts.enumerated() where file.bytes[part].contains(where: { $0 > 32 }) {
            textCount += 1
            let line = TextLines.Line(number: number + 1, range: part)
            offer(.line(line, file: files.count - 1), bytes: part.count, number: number)
        }
        sourceCount += 1
    }

    /// Adds a text.
    /// - Parameters:
    ///   - text: Beyond `longestText` bytes, no more than the next character is of interest.
    ///   - source: The number of its file among those whose texts are added in this way.
    ///   - number: Its place in the source.
    mutating func add(_ text: String, source: Int, number: Int) {
        guard text.utf8.contains(where: { $0 > 32 }) else { return }
        textCount += 1
        partCount += 1
        choice.offer(
            .memory(text), cost: min(text.utf8.count, Self.longestText) + Self.overhead, source: 1 + source,
            number: number)
    }

    /// Adds the lines of a text file.
    public mutating func addLines(of path: String) throws(DataError) {
        let file = try MappedFile(path)
        files.append(file)
        var number = 0
        var forgotten = 0
        for line in TextLines(file.bytes) where file.bytes[line.range].contains(where: { $0 > 32 }) {
            textCount += 1
            if line.range.lowerBound - forgotten > Self.mostPages {
                file.forgetPages()
                forgotten = line.range.lowerBound
            }
            var rest = line.range
            // A long line can be chosen in parts.
            while rest.count > Self.longestText {
                var end = rest.lowerBound + Self.longestText
                while end > rest.lowerBound + Self.longestText - 4, file.bytes[end] & 0xC0 == 0x80 { end -= 1 }
                let part = TextLines.Line(number: line.number, range: rest.lowerBound..<end)
                offer(.line(part, file: files.count - 1), bytes: part.range.count, number: number)
                number += 1
                rest = end..<rest.upperBound
            }
            let part = TextLines.Line(number: line.number, range: rest)
            offer(.line(part, file: files.count - 1), bytes: rest.count, number: number)
            number += 1
        }
        file.forgetPages()
        sourceCount += 1
    }

    private mutating func offer(_ place: Place, bytes: Int, number: Int) {
        partCount += 1
        choice.offer(
            place, cost: min(bytes, Self.longestText) + Self.overhead, source: sourceCount, number: number)
    }

    /// Counts the words of the chosen texts on all cores.
    /// - Throws: `DataError` that names the first line that cannot be read.
    func wordCounts() throws(DataError) -> WordCounts {
        let places = choice.items.sorted { $0.order < $1.order }
        let pool = ThreadPool()
        var counts = [WordCounts](repeating: WordCounts(), count: pool.threadCount)
        var failures = [DataError?](repeating: nil, count: places.count)
        let batch = 256
        counts.withUnsafeMutableBufferPointer { counts in
            failures.withUnsafeMutableBufferPointer { failures in
                pool.tasks((places.count + batch - 1) / batch) { task, thread in
                    for index in task * batch..<min(places.count, (task + 1) * batch) {
                        do throws(DataError) {
                            counts[thread].add(text: try text(at: places[index]))
                        } catch {
                            failures[index] = error
                        }
                    }
                    for file in files where task % 16 == 0 { file.forgetPages() }
                }
            }
        }
        if let failure = failures.lazy.compactMap(\.self).first { throw failure }
        var all = counts[0]
        for other in counts.dropFirst() { all.add(other) }
        return all
    }

    private func text(at place: Place) throws(DataError) -> String {
        switch place {
        case .memory(let text): return text
        case .line(let line, let index):
            let file = files[index]
            guard let text = String(validating: file.bytes[line.range], as: UTF8.self) else {
                throw DataError("\(file.path):\(line.number)", "is not UTF-8 text")
            }
            return text
        }
    }
}
