/// Reads the samples of one file in their order.
protocol SampleReader {
    associatedtype Sample

    /// - Returns: nil at the end.
    mutating func next() throws(DataError) -> Sample?
    /// nil for a sample without one.
    static func picture(of sample: Sample) -> PictureBytes?
}

/// The pictures of files that can only be read from their beginnings: which samples can be used, and where the reading stands.
///
/// Who asks for pictures behind those that came last goes on there, so that taking them some at a time reads no file twice.
struct SequentialPictures<Reader: SampleReader> {
    private struct Place {
        var file = 0
        /// nil before the file is opened.
        var reader: Reader?
        /// Of the samples of all files, the next one.
        var sample = 0
        /// Of those that can be used, the next one.
        var picture = 0
    }

    private let open: (_ file: Int) throws(DataError) -> Reader
    /// Whether each sample can be used, file after file, as far as the files can be read.
    private var isUsable: [Bool] = []
    /// How many of them can be.
    private(set) var count = 0
    /// Where the samples and the pictures of each file end.
    private var ends: [(sample: Int, picture: Int)] = []
    /// Files that cannot be read to their end.
    private var damaged: Set<Int> = []
    private var place = Place()

    init(open: @escaping (_ file: Int) throws(DataError) -> Reader) {
        self.open = open
    }

    /// Looks at the samples of the next file.
    /// - Parameter isUsable: Whether there is anything in a sample to use.
    mutating func listFile(
        bad: BadInput, _ isUsable: (Reader.Sample) throws(DataError) -> Bool
    ) {
        do throws(DataError) {
            var reader = try open(ends.count)
            while let sample = try reader.next() {
                var canBeUsed = false
                do throws(DataError) {
                    canBeUsed = try isUsable(sample)
                } catch {
                    bad.add(error)
                }
                self.isUsable.append(canBeUsed)
                count += canBeUsed ? 1 : 0
            }
        } catch {
            damaged.insert(ends.count)
            bad.add(error)
        }
        ends.append((self.isUsable.count, count))
    }

    /// Gives the pictures in their order.
    /// - Parameters:
    ///   - first: How many of them to pass over.
    ///   - body: Says whether to go on.
    mutating func forEach(
        from first: Int, _ body: (PictureBytes) throws(DataError) -> Bool
    ) throws(DataError) {
        var place = self.place.picture > first ? Place() : self.place
        self.place = Place()
        while place.file < ends.count {
            let end = ends[place.file]
            if end.picture > max(first, place.picture), try !read(&place, to: end, from: first, body) {
                self.place = place
                return
            }
            place = Place(file: place.file + 1, reader: nil, sample: end.sample, picture: end.picture)
        }
    }

    /// Reads a file as far as its last picture.
    /// - Returns: Whether to go on.
    private func read(
        _ place: inout Place, to end: (sample: Int, picture: Int), from first: Int,
        _ body: (PictureBytes) throws(DataError) -> Bool
    ) throws(DataError) -> Bool {
        var failure: DataError?
        do throws(DataError) {
            let left = place.reader
            place.reader = nil
            var reader = if let left { left } else { try open(place.file) }
            while place.picture < end.picture, let sample = try reader.next() {
                defer { place.sample += 1 }
                guard place.sample < end.sample, isUsable[place.sample], let picture = Reader.picture(of: sample)
                else { continue }
                place.picture += 1
                guard place.picture > first else { continue }
                do throws(DataError) {
                    guard try body(picture) else {
                        place.reader = reader
                        return false
                    }
                } catch {
                    failure = error
                    throw error
                }
            }
        } catch {
            // That it is damaged was told before.
            guard failure == nil, damaged.contains(place.file) else { throw error }
        }
        return true
    }
}
