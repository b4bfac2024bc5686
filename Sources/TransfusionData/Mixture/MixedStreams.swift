internal import TransfusionCore

/// The pairs of several data sets as one endless stream, in which each has its share and keeps its own order.
struct MixedPairs: Sendable {
    /// Of each data set; nil for one without pairs.
    private let streams: [PairStream?]
    private let table: SlotTable
    /// Pairs of each that came before this stream begins.
    private let begins: [Int]

    /// - Returns: nil when no data set that has a share has pairs.
    init?(_ streams: [PairStream?], shares: [Int], begins: [Int]) {
        let shares = zip(streams, shares).map { $0 == nil ? 0 : $1 }
        guard shares.contains(where: { $0 > 0 }) else { return nil }
        self.streams = streams
        self.begins = begins
        table = SlotTable(shares)
    }

    /// The streams that take part, each with its share and where it begins.
    var parts: [(stream: PairStream, share: Double)] {
        streams.enumerated().compactMap { source, stream in
            guard let stream, share(of: source) > 0 else { return nil }
            return (stream, share(of: source))
        }
    }

    func element(at place: Int) throws(DataError) -> PairStream.Element {
        let (source, index) = table.item(at: place)
        guard let stream = streams[source] else { preconditionFailure("a source without pairs has a slot") }
        return try stream.element(at: begins[source] + index)
    }

    func share(of source: Int) -> Double { table.share(of: source) }

    /// How many pairs of a data set have come before a place, those before the stream began included.
    func taken(from source: Int, before place: Int) -> Int {
        begins[source] + table.count(of: source, before: place)
    }
}

/// The text of several data sets as one endless stream: chunks of each in turn, which keep their own order.
struct MixedText: Sendable {
    private let streams: [TextStream]
    private let table: SlotTable
    /// Tokens of each that came before this stream begins.
    private let begins: [Int]

    /// Tokens of a slot.
    private static let slotLength = TextStream.chunkLength

    /// - Returns: nil when no data set that has a share has text.
    init?(_ streams: [TextStream], shares: [Int], begins: [Int]) {
        let shares = zip(streams, shares).map { $0.passLength > 0 ? $1 : 0 }
        guard shares.contains(where: { $0 > 0 }) else { return nil }
        self.streams = streams
        self.begins = begins
        table = SlotTable(shares)
    }

    /// Gives the fragments that make up `count` tokens of the stream from `start` on.
    func forEachFragment(
        from start: Int, count: Int, _ body: (TextStream.Fragment) throws(DataError) -> Void
    ) throws(DataError) {
        var place = start
        let end = start + count
        while place < end {
            let (slot, within) = place.quotientAndRemainder(dividingBy: Self.slotLength)
            let (source, index) = table.item(at: slot)
            var next = (slot + 1) * Self.slotLength
            // Neighbours of one source are one piece of its text.
            while next < end, table.item(at: next / Self.slotLength).source == source { next += Self.slotLength }
            let length = min(next, end) - place
            try streams[source].forEachFragment(
                from: begins[source] + index * Self.slotLength + within, count: length, body)
            place += length
        }
    }

    func share(of source: Int) -> Double { table.share(of: source) }

    /// How many tokens of a data set have come before a place, those before the stream began included.
    func taken(from source: Int, before place: Int) -> Int {
        let (slot, within) = place.quotientAndRemainder(dividingBy: Self.slotLength)
        let whole = begins[source] + table.count(of: source, before: slot) * Self.slotLength
        return whole + (within > 0 && table.item(at: slot).source == source ? within : 0)
    }
}
