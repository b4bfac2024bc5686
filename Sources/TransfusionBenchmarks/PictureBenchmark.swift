internal import TransfusionCore
public import TransfusionData
internal import TransfusionSupport

/// How fast pictures are read and brought to their size, format by format, as `tf-data import` does it.
public struct PictureBenchmark {
    /// Pictures, or folders of pictures.
    public var paths: [String]
    /// Pixels on a side.
    public var size = 256
    public var fit = Picture.Fit.crop
    public var filter = Picture.Filter.bicubic
    /// As many as there are processors unless given.
    public var threads: Int?
    /// Each format is measured for so long at least, and over each of its pictures once.
    public var seconds = 2.0

    public init(paths: [String]) {
        self.paths = paths
    }

    public struct Row: Codable, Sendable {
        /// `png`, `jpeg`, `webp` or `gif`.
        public var format: String
        /// Different pictures that were measured.
        public var pictures: Int
        /// Of a picture, on average.
        public var bytes: Double
        public var pixels: Double
        public var picturesPerSecond: Double
        /// Millions of packed bytes.
        public var megabytesPerSecond: Double
        public var threads: Int
    }

    /// So many bytes of a format are kept in memory and measured; the rest is passed over.
    private static let mostBytes = 1 << 29

    /// - Throws: `DataError` when there is no picture, or one cannot be read.
    public func run(progress: (_ format: String) -> Void = { _ in }) throws(DataError) -> [Row] {
        var pictures: [PictureFormat: [PictureBytes]] = [:]
        var bytes: [PictureFormat: Int] = [:]
        for path in paths.map({ Paths.withoutTrailingSlash($0) }) {
            for path in PictureFolder.pictures(in: path) {
                let file = try Files.read(path, limit: PictureFile.largestFile)
                guard let format = file.withUnsafeBytes({ PictureFormat(of: $0) }) else {
                    throw DataError(path, "is no PNG, JPEG, WebP or GIF picture; take it away")
                }
                guard bytes[format, default: 0] + file.count <= Self.mostBytes else { continue }
                bytes[format, default: 0] += file.count
                pictures[format, default: []].append(PictureBytes(name: path, file))
            }
        }
        guard !pictures.isEmpty else {
            throw DataError(
                paths.joined(separator: ", "), "no picture in it; give a PNG, JPEG, WebP or GIF file, or a folder")
        }
        var rows: [Row] = []
        for (format, pictures) in pictures.sorted(by: { "\($0.key)" < "\($1.key)" }) {
            progress("\(format)")
            rows.append(try measure(pictures, format))
        }
        return rows
    }

    private func measure(_ pictures: [PictureBytes], _ format: PictureFormat) throws(DataError) -> Row {
        let pool = ThreadPool(threads: threads)
        var resizing = PictureResizing(size: size, fit: fit, filter: filter, pool: pool)
        var done = 0
        let store = { (result: Result<[UInt8], DataError>) throws(DataError) in
            _ = try result.get()
            done += 1
        }
        let clock = ContinuousClock()
        let start = clock.now
        repeat {
            for picture in pictures { try resizing.add(.success(picture), store) }
            try resizing.finish(store)
        } while start.duration(to: clock.now) < .seconds(seconds)
        let passed = start.duration(to: clock.now) / .seconds(1)
        let packed = pictures.reduce(0) { $0 + $1.count }
        var pixels = 0
        for picture in pictures { pixels += try picture.pixelCount() }
        let count = Double(pictures.count), rate = Double(done) / passed
        return Row(
            format: "\(format)", pictures: pictures.count, bytes: Double(packed) / count,
            pixels: Double(pixels) / count, picturesPerSecond: rate,
            megabytesPerSecond: rate * Double(packed) / count / 1e6, threads: pool.threadCount)
    }
}
