/// A picture file with its caption.
struct GalleryPicture: Equatable {
    /// What the pair is called.
    let key: String
    let path: String
    let caption: String

    private static let mostDepth = 16

    /// The files below a directory whose names end so, by their paths in it, in order.
    static func files(below directory: String, ending: String, depth: Int = mostDepth) -> [String] {
        guard depth > 0 else { return [] }
        return Files.entries(in: directory).sorted { $0.name < $1.name }.flatMap { name, kind in
            if kind == .directory {
                return files(below: directory + "/" + name, ending: ending, depth: depth - 1).map { name + "/" + $0 }
            }
            return name.hasSuffix("." + ending) ? [name] : []
        }
    }
}
