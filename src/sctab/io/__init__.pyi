from . import (
    _file_matrix as _file_matrix,
    _tasks as _tasks,
    _urls as _urls,
    declared as declared,
    integrity as integrity,
    strict_json as strict_json,
)
from ._apart import check_apart as check_apart
from ._atomic import temporary_directory as temporary_directory, written_beside as written_beside
from ._checks import require_sound_cells as require_sound_cells, require_sound_view as require_sound_view
from ._compiled import compiled as compiled
from ._copies import Results as Results, copy_data as copy_data, open_copy as open_copy, require_whole_links as require_whole_links
from ._csr_writer import CsrWriter as CsrWriter
from ._damage import explains_damage as explains_damage
from ._data_file import (
    DataFile as DataFile,
    find_data_files as find_data_files,
    read_data_file as read_data_file,
    read_mudata as read_mudata,
)
from ._download import (
    Downloaded as Downloaded,
    Expected as Expected,
    download as download,
    read_remote as read_remote,
    write_reason as write_reason,
)
from ._formats import SUFFIXES as SUFFIXES
from ._hub import commit_folder as commit_folder, download_repository as download_repository
from ._label_tables import (
    TABLE_SUFFIXES as TABLE_SUFFIXES,
    check_run_file as check_run_file,
    open_table as open_table,
    run_file_of as run_file_of,
    run_of_table as run_of_table,
    write_run_file as write_run_file,
)
from ._links import check_store as check_store
from ._locks import InUseError as InUseError, held_alone as held_alone, held_in_turn as held_in_turn
from ._mudata import Beside as Beside, ChooseBeside as ChooseBeside
from ._places import (
    OFFLINE_VARIABLE as OFFLINE_VARIABLE,
    cache_dir as cache_dir,
    config_file as config_file,
    is_offline as is_offline,
)
from ._progress import ProgressReport as ProgressReport, progress_title as progress_title, progress_titled as progress_titled
from ._readable import require_readable as require_readable
from ._readback import check_copy as check_copy, check_table as check_table
from ._remote import path_of as path_of
from ._replaceable import (
    MODEL_FILES as MODEL_FILES,
    as_path as as_path,
    check_free as check_free,
    entries_of as entries_of,
    explain as explain,
)
from ._results import read_results as read_results
from ._rows import (
    RowReader as RowReader,
    ahead as ahead,
    release_large_arrays as release_large_arrays,
    row_blocks as row_blocks,
    row_ranges as row_ranges,
    row_sliceable as row_sliceable,
    rows_of as rows_of,
    to_csr as to_csr,
)
from ._scattered import ScatteredRows as ScatteredRows
from ._sizes import BLOCK_SIZE as BLOCK_SIZE
from ._spreadsheets import n_marked as n_marked, write_csv as write_csv
from ._stored import StoredRows as StoredRows, file_of as file_of
from ._tasks import OnProgress as OnProgress, client_in_use as client_in_use, run_tasks as run_tasks
from ._urls import (
    base_name as base_name,
    filesystem as filesystem,
    is_pattern as is_pattern,
    is_protected as is_protected,
    is_url as is_url,
    split_url as split_url,
    suffix_of as suffix_of,
    without_credentials as without_credentials,
)
from ._zarr import fast_reading as fast_reading
