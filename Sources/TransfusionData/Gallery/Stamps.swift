/// The pictures of Debian's tuxpaint-stamps-default, photographs among them: each has its caption in a text file beside it,
/// in English on the first line.
enum Stamps {
    static let defaultDirectory = "/usr/share/tuxpaint/stamps"

    /// - Returns: The pictures that have a caption, and how many have none.
    static func pictures(
        _ directory: String = defaultDirectory
    ) throws(DataError) -> (pictures: [GalleryPicture], withoutCaption: Int) {
        let names = GalleryPicture.files(below: directory, ending: "png")
        guard !names.isEmpty else {
            throw DataError(directory, "holds no pictures; install the package tuxpaint-stamps-default")
        }
        var pictures: [GalleryPicture] = []
        for name in names {
            let text = directory + "/" + name.dropLast(3) + "txt"
            guard Files.exists(text) else { continue }
            let lines = try Files.readText(text, limit: 1 << 20).split(
                separator: "\n", omittingEmptySubsequences: false)
            let words = (lines.first ?? "").split { $0.isWhitespace }
            guard !words.isEmpty else { continue }
            pictures.append(
                GalleryPicture(
                    key: "stamps/" + name, path: directory + "/" + name, caption: words.joined(separator: " ")))
        }
        return (pictures, names.count - pictures.count)
    }
}
